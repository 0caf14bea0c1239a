import type { Status } from "./bindings.js";
import { type EndStream, stream } from "./stream.js";

/** Ends a watch. May be called at any time and any number of times; no callback runs after the first call. */
export type StopWatching = EndStream;

interface Listener {
  /** The last change that it was told, by `Status.seq`. */
  seq: number;
  onStatus: (status: Status) => void;
  onError: ((error: Error) => void) | undefined;
}

/**
 * The one status stream of a sidecar in this page, shared by whoever watches it: it begins with the first and ends with
 * the last of them. Latecomers are told the last status without asking the app.
 */
export class Watch {
  readonly #sidecar: string;
  #listeners: Listener[] = [];
  #last: Status | null = null;
  #end: StopWatching | null = null;

  constructor(sidecar: string) {
    this.#sidecar = sidecar;
  }

  /** Never calls back before it has returned. */
  add(onStatus: (status: Status) => void, onError?: (error: Error) => void): StopWatching {
    const listener = { seq: Number.NEGATIVE_INFINITY, onStatus, onError };
    this.#listeners.push(listener);
    return this.#join(listener);
  }

  /** As `add`, and told of each change before all who came so far: whatever they do with the news can rely on it. */
  addFirst(onStatus: (status: Status) => void, onError?: (error: Error) => void): StopWatching {
    const listener = { seq: Number.NEGATIVE_INFINITY, onStatus, onError };
    this.#listeners.unshift(listener);
    return this.#join(listener);
  }

  #join(listener: Listener): StopWatching {
    if (this.#end === null) this.#begin();
    else queueMicrotask(() => this.#last && this.#tell(listener, this.#last));
    return () => {
      const place = this.#listeners.indexOf(listener);
      if (place < 0) return;
      this.#listeners.splice(place, 1);
      if (this.#listeners.length === 0) this.#finish();
    };
  }

  #begin(): void {
    const end = stream<Status>(
      "watch",
      this.#sidecar,
      (status) => {
        this.#last = status;
        for (const listener of [...this.#listeners]) this.#tell(listener, status);
      },
      (error) => {
        // Forgotten before anybody hears of it, so that whoever tries again begins another stream.
        const listeners = this.#listeners;
        this.#listeners = [];
        this.#finish();
        for (const { onError } of listeners) onError?.(error);
      },
    );
    this.#end = end;
  }

  #finish(): void {
    this.#end?.();
    this.#end = null;
    this.#last = null;
  }

  #tell(listener: Listener, status: Status): void {
    if (!this.#listeners.includes(listener) || status.seq <= listener.seq) return;
    listener.seq = status.seq;
    try {
      listener.onStatus(status);
    } catch (error) {
      // The others are to hear of it all the same.
      reportError(error);
    }
  }
}
