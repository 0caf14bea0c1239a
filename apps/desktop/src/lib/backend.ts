import { type BackendClient, BackendError } from "./api";
import { awaitsHealth, type Connection, type Event, initial, reduce } from "./connection";
import { type Host, SidecarError } from "./tauri";

/** Between two health checks of a backend that is ready, in milliseconds. */
export const HEALTH_INTERVAL = 10_000;

/** The app's view of its backend: feeds the reducer from the status stream and from health checks. */
export class Backend {
  readonly #host: Host;
  readonly #client: BackendClient;
  readonly #listeners = new Set<() => void>();
  #connection = initial;
  #unwatch: (() => void) | null = null;
  #checking = false;
  #lastCheck = Number.NEGATIVE_INFINITY;

  constructor(host: Host, client: BackendClient) {
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
    void this.#check();
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
      const { port } = await this.#host.restart();
      this.#client.follow(port);
    } catch (error) {
      this.#lost(error);
    }
    // Mostly the stream has said all this by now; not if it could not begin, or if another window restarted too.
    if (this.connection().link.state !== "connected" && this.#isUp()) await this.#check();
  };

  #watch(): void {
    let begun = true;
    const unwatch = this.#host.watch(
      (status) => {
        this.#client.follow(status.state === "ready" ? status.port : null);
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
    if (due && !document.hidden && this.#isUp()) void this.#check();
  }

  /** Without a stream the state is unknown, and then a health check is the only way to learn it. */
  #isUp(): boolean {
    const { status } = this.#connection;
    return status === null || status.state === "ready";
  }

  /** One check at a time. An answer that a restart has overtaken changes nothing, so then the new backend is asked. */
  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      do this.#dispatch(await this.#probe());
      while (awaitsHealth(this.#connection));
    } finally {
      this.#checking = false;
    }
  }

  async #probe(): Promise<Event> {
    let port: number | null = null;
    try {
      port = await this.#client.port();
      this.#lastCheck = performance.now();
      const health = await this.#client.healthCheck();
      return { type: "healthy", port, health, at: performance.now() };
    } catch (error) {
      // The client rejects with nothing else; anything different is a fault in this program and may as well be seen.
      if (!(error instanceof BackendError)) throw error;
      return { type: "unhealthy", port, error };
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
