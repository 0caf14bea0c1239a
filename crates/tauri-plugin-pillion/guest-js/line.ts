import type { Access, Status } from "./bindings.js";
import { Connection } from "./connection.js";
import { absence, SidecarError } from "./error.js";
import { call } from "./ipc.js";
import { orNull, sleep, until } from "./signals.js";
import type { Watch } from "./watch.js";

/** A run of the sidecar that serves, as far as we were told, and the way to it, once the app has given it. */
interface Run {
  readonly url: string;
  readonly pid: number | null;
  readonly controller: AbortController;
  connection: Connection | null;
}

/**
 * How long the news of a backend's death may take to get here after a request has failed of it, in milliseconds. The
 * supervisor notices an exit at once, so this is much; without news by then the backend is there, and the request
 * failed of something else. The app's answer to where a backend is takes as long at most, where that is there.
 */
const NEWS = 1_000;

/**
 * The line from this page to a sidecar: always knows the present connection, so that a request asks the app nothing. The app
 * is asked for the connection once per run.
 *
 * It watches from the first request on, for as long as the page lives: a stream on which nothing happens costs nothing.
 */
export class Line {
  readonly sidecar: string;
  readonly #watch: Watch;
  readonly #waiting = new Set<() => void>();
  #watching = false;
  #asking = false;
  #status: Status | null = null;
  #run: Run | null = null;
  /** What the app gave last. It may be ahead of the status stream, or behind. */
  #access: Access | null = null;
  #lost: Error | null = null;

  constructor(sidecar: string, watch: Watch) {
    this.sidecar = sidecar;
    this.#watch = watch;
  }

  /** The last word of the status stream. */
  get status(): Status | null {
    return this.#status;
  }

  /** Begins to watch, and asks for the connection at the same time, so that the first of both answers waits for no other. */
  open(): void {
    if (this.#watching && !this.#lost) return;
    this.#lost = null;
    if (!this.#watching) {
      this.#watching = true;
      this.#watch.addFirst(
        (status) => this.#follow(status),
        (error) => {
          this.#watching = false;
          this.#lose(error);
        },
      );
    }
    void this.#ask();
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
    let found = await this.#next(look, patience, signal);
    // Patience is for a backend that is not there. Of one that is, only the app's answer is wanting.
    if (found === null && this.#run) found = await this.#next(look, NEWS, signal);
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

  /**
   * Whether a 401 is the backend's own word: false where the run that the request was meant for has ended, and another one,
   * with another token, has answered in its place, as it can on a port that outlives a restart. The app knows; true where
   * the signal is aborted before it says.
   */
  async isCurrent(connection: Connection, signal?: AbortSignal | null): Promise<boolean> {
    if (!connection.isPrivate) return true;
    const access = await orNull(this.#call(), connection.gone, signal);
    if (signal?.aborted || (access && connection.isOf(access))) return true;
    if (access) this.#access = access;
    if (this.#run?.connection === connection) this.#end(this.#run);
    return false;
  }

  #next<T>(look: () => T | null, patience: number, signal?: AbortSignal | null): Promise<T | null> {
    this.open();
    const orLost = () => {
      if (this.#lost) throw this.#lost;
      return look();
    };
    return until(this.#waiting, orLost, patience, signal);
  }

  #follow(status: Status): void {
    this.#status = status;
    const { url, pid } = status;
    if (this.#run && !isSame(this.#run, status)) this.#end(this.#run);
    if (url !== null && this.#run === null) {
      this.#run = { url, pid, controller: new AbortController(), connection: null };
      this.#connect();
      if (!this.#run.connection) void this.#ask();
    }
    this.#notify();
  }

  #end({ controller }: Run): void {
    this.#run = null;
    controller.abort();
  }

  /** Makes the connection to the present run, if what the app gave is of that. */
  #connect(): void {
    const run = this.#run;
    if (!run || run.connection || !this.#access || !isSame(run, this.#access)) return;
    run.connection = new Connection(this.sidecar, this.#access, run.controller.signal);
  }

  /** Asks the app for the connection, once at a time; again, if another run has come up meanwhile. */
  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    let asked: Run | null;
    do {
      asked = this.#run;
      try {
        this.#access = await this.#call();
        this.#connect();
        this.#notify();
      } catch (error) {
        // How a sidecar is, the status stream tells. What remains is that this page may not call it.
        if (!(error instanceof SidecarError)) this.#lose(error as Error);
      }
    } while (!this.#lost && this.#run && !this.#run.connection && this.#run !== asked);
    this.#asking = false;
  }

  #call(): Promise<Access> {
    return call<Access>("connect", { sidecar: this.sidecar });
  }

  #lose(error: Error): void {
    this.#lost = error;
    this.#notify();
  }

  #notify(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

function isSame(run: Run, { url, pid }: { url: string | null; pid: number | null }): boolean {
  return run.url === url && run.pid === pid;
}
