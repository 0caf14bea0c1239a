import { type BackendClient, BackendError } from "./api";
import { awaitsHealth, type BackendEvent, type BackendView, initial, reduce } from "./connection-state";
import { type Host, SidecarError, type Status } from "./tauri";

/** The interval between two health checks of a ready backend, in milliseconds. */
export const HEALTH_INTERVAL = 10_000;

/** The app's view of its backend: feeds the reducer with the status and with health checks. */
export class Backend {
  readonly #host: Pick<Host, "watch" | "restart">;
  readonly #client: BackendClient;
  readonly #listeners = new Set<() => void>();
  #view = initial;
  #unlisten: (() => void) | null = null;
  #checking = false;
  #lastCheck = Number.NEGATIVE_INFINITY;

  constructor(host: Pick<Host, "watch" | "restart">, client: BackendClient) {
    this.#host = host;
    this.#client = client;
  }

  /** The current view; the same object until something changes. */
  readonly view = (): BackendView => this.#view;

  /** Calls `listener` after each change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Watches the status, and checks the backend's health while the page is visible, until the returned function is called. */
  start(): () => void {
    this.#watch();
    const recheck = () => this.#recheck();
    const timer = setInterval(recheck, HEALTH_INTERVAL);
    document.addEventListener("visibilitychange", recheck);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", recheck);
      this.#unlisten?.();
      this.#unlisten = null;
    };
  }

  /** Restarts the backend after an error. Never rejects: the view shows the outcome. */
  readonly retry = async (): Promise<void> => {
    if (this.#view.connection.state !== "error") return;
    this.#dispatch({ type: "retry" });
    if (this.#unlisten === null) this.#watch();
    try {
      await this.#host.restart();
    } catch (error) {
      this.#fail(error);
    }
    // The status normally reports the outcome. It has already done so if another window restarted the backend as well.
    if (awaitsHealth(this.#view)) await this.#check();
  };

  #watch(): void {
    let begun = true;
    const unlisten = this.#host.watch(
      (status) => {
        this.#dispatch({ type: "status", status });
        if (awaitsHealth(this.#view)) void this.#check();
      },
      (error) => {
        begun = false;
        this.#unlisten = null;
        this.#fail(error);
      },
    );
    if (begun) this.#unlisten = unlisten;
  }

  #recheck(): void {
    const due = performance.now() - this.#lastCheck >= HEALTH_INTERVAL / 2;
    if (due && !document.hidden) void this.#check();
  }

  /** Runs one check at a time. After a restart during a check, the new run is checked as well. */
  async #check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      // Only a ready backend is checked: the supervisor probes the others, and the status reports what it finds.
      for (let ready = this.#ready(); ready; ready = awaitsHealth(this.#view) ? this.#ready() : null) {
        this.#dispatch(await this.#probe(ready));
      }
    } finally {
      this.#checking = false;
    }
  }

  #ready(): Status | null {
    const { status } = this.#view;
    return status?.state === "ready" ? status : null;
  }

  async #probe(checked: Status): Promise<BackendEvent> {
    this.#lastCheck = performance.now();
    try {
      const health = await this.#client.healthCheck();
      return { type: "healthy", checked, response: { health, at: performance.now() } };
    } catch (error) {
      // The client rejects only with a BackendError; any other error is a bug in this program, and must be visible.
      if (!(error instanceof BackendError)) throw error;
      return { type: "unhealthy", checked, error };
    }
  }

  #fail(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#dispatch({ type: "failed", error, failure: error instanceof SidecarError ? error.failure : null });
  }

  #dispatch(event: BackendEvent): void {
    const before = this.#view;
    this.#view = reduce(before, event);
    if (this.#view === before) return;
    for (const listener of this.#listeners) listener();
  }
}
