import { type BackendClient, BackendError } from "./api";
import { awaitsHealth, type Connection, type Event, initial, reduce } from "./connection";
import { type Host, SidecarError, type Status } from "./tauri";

/** Between two health checks of a backend that is ready, in milliseconds. */
export const HEALTH_INTERVAL = 10_000;

/** The app's view of its backend: feeds the reducer from the status stream and from health checks. */
export class Backend {
  readonly #host: Pick<Host, "watch" | "restart">;
  readonly #client: BackendClient;
  readonly #listeners = new Set<() => void>();
  #connection = initial;
  #unwatch: (() => void) | null = null;
  #checking = false;
  #lastCheck = Number.NEGATIVE_INFINITY;

  constructor(host: Pick<Host, "watch" | "restart">, client: BackendClient) {
    this.#host = host;
    this.#client = client;
  }

  /** The present state; the same object until something changes. */
  readonly connection = (): Connection => this.#connection;

  /** Calls `listener` after each change until the function returned is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Begins to follow the backend, and to ask how it is while the page is visible, until the function returned is called. */
  start(): () => void {
    this.#watch();
    const recheck = () => this.#recheck();
    const timer = setInterval(recheck, HEALTH_INTERVAL);
    document.addEventListener("visibilitychange", recheck);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", recheck);
      this.#unwatch?.();
      this.#unwatch = null;
    };
  }

  /** Resolves as soon as it is known whether the backend is there, and by now, if it is known already. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#connection.link.state === "connecting") return;
        unsubscribe();
        resolve();
      };
      const unsubscribe = this.subscribe(look);
      look();
    });
  }

  /** Has the backend started again. Never rejects: what comes of it is in the connection. */
  readonly retry = async (): Promise<void> => {
    if (this.#connection.link.state !== "error") return;
    this.#dispatch({ type: "retry" });
    if (this.#unwatch === null) this.#watch();
    try {
      await this.#host.restart();
    } catch (error) {
      this.#lost(error);
    }
    // What the restart has led to is the stream's to say; not if another window restarted too, and it has been said.
    if (awaitsHealth(this.#connection)) await this.#check();
  };

  #watch(): void {
    let begun = true;
    const unwatch = this.#host.watch(
      (status) => {
        this.#dispatch({ type: "status", status });
        if (awaitsHealth(this.#connection)) void this.#check();
      },
      (error) => {
        begun = false;
        this.#unwatch = null;
        this.#lost(error);
      },
    );
    if (begun) this.#unwatch = unwatch;
  }

  #recheck(): void {
    const due = performance.now() - this.#lastCheck >= HEALTH_INTERVAL / 2;
    if (due && !document.hidden) void this.#check();
  }

  /** One check at a time. An answer that a restart has overtaken changes nothing, so then the new backend is asked. */
  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      // A backend that is not ready is not asked: the supervisor does that, and the stream tells what it found.
      for (let asked = this.#ready(); asked; asked = awaitsHealth(this.#connection) ? this.#ready() : null) {
        this.#dispatch(await this.#probe(asked));
      }
    } finally {
      this.#checking = false;
    }
  }

  #ready(): Status | null {
    const { status } = this.#connection;
    return status?.state === "ready" ? status : null;
  }

  async #probe(asked: Status): Promise<Event> {
    this.#lastCheck = performance.now();
    try {
      const health = await this.#client.healthCheck();
      return { type: "healthy", asked, answer: { health, at: performance.now() } };
    } catch (error) {
      // The client rejects with nothing else; anything different is a fault in this program and may as well be seen.
      if (!(error instanceof BackendError)) throw error;
      return { type: "unanswered", asked, error };
    }
  }

  #lost(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#dispatch({ type: "lost", error, failure: error instanceof SidecarError ? error.failure : null });
  }

  #dispatch(event: Event): void {
    const before = this.#connection;
    this.#connection = reduce(before, event);
    if (this.#connection === before) return;
    for (const listener of this.#listeners) listener();
  }
}
