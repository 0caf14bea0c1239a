import type { Status } from "./bindings.js";
import { absence } from "./error.js";
import { sleep, until } from "./signals.js";
import type { Watch } from "./watch.js";

/** The way to one run of a sidecar. The next run is another connection, also where it has the same port. */
export interface Connection {
  readonly url: string;
  /** Aborted as soon as this run is known to be on its way down, gone or replaced. */
  readonly gone: AbortSignal;
}

/**
 * How long the news of a backend's death may take to get here after a request has failed of it, in milliseconds. The
 * supervisor notices an exit at once, so this is much; without news by then the backend is there, and the request
 * failed of something else.
 */
const NEWS = 1_000;

/**
 * The line from this page to a sidecar: always knows the present connection, so that a request asks the app nothing.
 * It watches from the first request on, for as long as the page lives: a stream on which nothing happens costs nothing.
 */
export class Line {
  readonly sidecar: string;
  readonly #watch: Watch;
  readonly #waiting = new Set<() => void>();
  #watching = false;
  #status: Status | null = null;
  #run: { pid: number | null; connection: Connection; controller: AbortController } | null = null;
  #lost: Error | null = null;

  constructor(sidecar: string, watch: Watch) {
    this.sidecar = sidecar;
    this.#watch = watch;
  }

  /** The last word of the status stream. */
  get status(): Status | null {
    return this.#status;
  }

  /**
   * The connection of the moment, or the next one. Rejects with a `SidecarError` when the sidecar does not come back by
   * itself, or when there is none for `patience` milliseconds; with the signal's reason when that is aborted.
   */
  async connection(patience: number, signal?: AbortSignal | null): Promise<Connection> {
    let why = absence(this.sidecar, this.#status);
    const look = () => {
      if (this.#run) return this.#run.connection;
      why = absence(this.sidecar, this.#status);
      if (this.#status && !why.passing) throw why.error;
      return null;
    };
    const found = await this.#next(look, patience, signal);
    if (found === null) throw why.error;
    return found;
  }

  /** The connection of the moment, or the next one, whatever happens until then. Null when the signal is aborted. */
  async reconnection(signal: AbortSignal): Promise<Connection | null> {
    try {
      return await this.#next(() => this.#run?.connection ?? null, Number.POSITIVE_INFINITY, signal);
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** Whether a request failed because its backend went away. Waits for the news, which the failure may outrun. */
  async isGone({ gone }: Connection, signal?: AbortSignal | null): Promise<boolean> {
    await sleep(NEWS, gone, signal);
    signal?.throwIfAborted();
    return gone.aborted;
  }

  #next<T>(look: () => T | null, patience: number, signal?: AbortSignal | null): Promise<T | null> {
    this.#begin();
    const orLost = () => {
      if (this.#lost) throw this.#lost;
      return look();
    };
    return until(this.#waiting, orLost, patience, signal);
  }

  #begin(): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#lost = null;
    this.#watch.addFirst(
      (status) => this.#follow(status),
      (error) => {
        this.#watching = false;
        this.#lost = error;
        this.#notify();
      },
    );
  }

  #follow(status: Status): void {
    this.#status = status;
    const { url, pid } = status;
    if (this.#run && (this.#run.connection.url !== url || this.#run.pid !== pid)) {
      const { controller } = this.#run;
      this.#run = null;
      controller.abort();
    }
    if (url !== null && this.#run === null) {
      const controller = new AbortController();
      this.#run = { pid, controller, connection: { url, gone: controller.signal } };
    }
    this.#notify();
  }

  #notify(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
