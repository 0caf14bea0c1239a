import type { UnlistenFn } from "@tauri-apps/api/event";
import type { Known } from "./at-start.js";
import { isFresh } from "./at-start.js";
import type { Status } from "./bindings.js";
import { subscribe } from "./subscription.js";

interface Listener {
  /** The `seq` of the last status that this listener received. */
  seq: number;
  onStatus: (status: Status) => void;
  onError: ((error: Error) => void) | undefined;
}

/**
 * The status subscription of one sidecar, shared by all listeners in this page. It begins with the first listener and ends with
 * the last. A later listener receives the last status without a call to the app.
 */
export class StatusWatch {
  readonly #sidecar: string;
  #listeners: Listener[] = [];
  #last: Status | null = null;
  #unlisten: UnlistenFn | null = null;
  /** What the app has told the page at its start. It serves the first subscription until that has its first status. */
  #known: Known | null;

  constructor(sidecar: string, known: Known | null) {
    this.#sidecar = sidecar;
    this.#known = known;
  }

  /** Adds a listener. Its callbacks never run before this method returns. */
  add(onStatus: (status: Status) => void, onError?: (error: Error) => void): UnlistenFn {
    const listener = { seq: Number.NEGATIVE_INFINITY, onStatus, onError };
    this.#listeners.push(listener);
    return this.#join(listener);
  }

  /** As `add`, but puts the listener first: it receives each status before the present listeners, which can rely on its state. */
  addFirst(onStatus: (status: Status) => void, onError?: (error: Error) => void): UnlistenFn {
    const listener = { seq: Number.NEGATIVE_INFINITY, onStatus, onError };
    this.#listeners.unshift(listener);
    return this.#join(listener);
  }

  #join(listener: Listener): UnlistenFn {
    if (this.#unlisten === null) this.#begin();
    queueMicrotask(() => this.#last && this.#deliver(listener, this.#last));
    return () => {
      const index = this.#listeners.indexOf(listener);
      if (index < 0) return;
      this.#listeners.splice(index, 1);
      if (this.#listeners.length === 0) this.#end();
    };
  }

  #begin(): void {
    if (this.#known && isFresh(this.#known)) this.#last = this.#known.status;
    this.#known = null;
    this.#unlisten = subscribe<Status>(
      "watch",
      this.#sidecar,
      (status) => {
        this.#last = status;
        for (const listener of [...this.#listeners]) this.#deliver(listener, status);
      },
      (error) => {
        // The state is reset before the listeners are called, so that one that tries again begins a new subscription.
        const listeners = this.#listeners;
        this.#listeners = [];
        this.#end();
        for (const { onError } of listeners) onError?.(error);
      },
    );
  }

  #end(): void {
    this.#unlisten?.();
    this.#unlisten = null;
    this.#last = null;
  }

  #deliver(listener: Listener, status: Status): void {
    if (!this.#listeners.includes(listener) || status.seq <= listener.seq) return;
    listener.seq = status.seq;
    try {
      listener.onStatus(status);
    } catch (error) {
      // An exception of one listener must not keep the status from the others.
      // Test environments, such as happy-dom, have no `reportError`.
      if (typeof reportError === "function") reportError(error);
      else console.error(error);
    }
  }
}
