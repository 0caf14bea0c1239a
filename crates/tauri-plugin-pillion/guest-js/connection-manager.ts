import { orNull, sleep, waitFor } from "./abort.js";
import { isFresh, type Known } from "./at-start.js";
import type { Access, Status } from "./bindings.js";
import { SidecarError, unavailable } from "./error.js";
import { call } from "./ipc.js";
import { ORIGIN } from "./ipc-fetch.js";
import { onRestored } from "./page-cache.js";
import { endWithBody } from "./response-use.js";
import { RunClient } from "./run-client.js";
import { unwatch } from "./subscription.js";
import { BASE_URL, baseOf } from "./target.js";
import type { StatusWatch } from "./watch.js";

/** The run that serves, according to the last status, and its client, once the app has returned its `Access`. */
interface CurrentRun {
  readonly url: string;
  readonly pid: number | null;
  readonly controller: AbortController;
  client: RunClient | null;
}

/**
 * The result of `connect`. `lease` is the id of a use of a sidecar on demand, which lasts until `unwatch` is called with it or the
 * page ends; null if the app sees the uses itself.
 */
interface Connection extends Access {
  lease: number | null;
}

/**
 * How long the lease of a sidecar on demand is kept after its last use, in milliseconds, so that requests that follow each other
 * need one call to the app together.
 */
const LEASE_LINGER_MS = 1_000;

/**
 * The longest delay between a failed request and the status that reports the end of its run, in milliseconds. The supervisor
 * notices an exit at once, so one second is ample. If no such status comes, the run still serves, and the request failed for
 * another reason. It is also the longest time that the app takes to respond to `connect` while a run serves.
 */
const STATUS_LAG_MS = 1_000;

/**
 * Provides the client of a sidecar's current run. It follows the status and asks the app for the `Access` once per run, so that
 * a request needs no call to the app.
 *
 * It watches the status from the first request until the page ends: an idle subscription costs nothing.
 */
export class ConnectionManager {
  readonly sidecar: string;
  readonly #watch: StatusWatch;
  readonly #waiters = new Set<() => void>();
  /** Where the runs of this sidecar served, as far as this page has learnt. */
  readonly #bases = new Set<string>();
  #watching = false;
  #connecting = false;
  #status: Status | null = null;
  #run: CurrentRun | null = null;
  /** The last response to `connect`. It can be newer or older than the status. */
  #access: Access | null = null;
  /** What the app has told the page at its start, until the first use: its `access` is what `connect` would return. */
  #known: Known | null;
  /** How many requests, event streams and WebSockets of this page use the sidecar. */
  #uses = 0;
  /** Whether requests need a lease: the sidecar runs on demand, and the page itself sends them. */
  #needsLease = false;
  #lease: number | null = null;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #unlistenRestored: (() => void) | null = null;
  /** Why this page cannot watch or call the sidecar. */
  #error: Error | null = null;

  constructor(sidecar: string, watch: StatusWatch, known: Known | null) {
    this.sidecar = sidecar;
    this.#watch = watch;
    this.#known = known;
  }

  /** The last status, or null before the first. */
  get status(): Status | null {
    return this.#status;
  }

  /** Remembers the URL of a run, so that requests for it are sent to the current run. */
  remember(url: string | null): void {
    if (url) this.#bases.add(baseOf(new URL(url)));
  }

  /**
   * Throws a `TypeError` if no run of this sidecar served at `base`, as far as this page has learnt: the request carries the token,
   * and is not for this sidecar.
   */
  checkBase(base: string): void {
    if (this.#bases.has(base) || (base === ORIGIN && this.#run?.client?.isLocal)) return;
    throw new TypeError(
      `${base} is not the address of ${this.sidecar}, so the request was not sent, because it carries the sidecar's token: ` +
        `call fetch with a path ("/notes") or with a URL below ${BASE_URL}, and other servers with the global fetch`,
    );
  }

  /**
   * Begins a use, such as a request. A sidecar on demand then starts when a client is asked for, and runs until the use ends: when the
   * returned function is called, any number of times.
   */
  use(): () => void {
    this.#uses += 1;
    clearTimeout(this.#linger);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#uses -= 1;
      this.#lingerIfUnused();
    };
  }

  /** Ends a use with the body of its response. `signal` is that of the request. */
  endUseWith(response: Response, end: () => void, signal?: AbortSignal | null): Response {
    if (this.#needsLease) return endWithBody(response, end, signal);
    end();
    return response;
  }

  /**
   * Starts to watch the status and calls `connect` at the same time, so that neither response waits for the other. If an `Access` is known
   * already, `connect` is called only if the status is that of another run.
   */
  open(): void {
    if (this.#watching && !this.#error) return;
    if (this.#known && isFresh(this.#known)) this.#access = this.#known.access;
    this.#known = null;
    const isKnown = this.#access !== null && this.#error === null;
    this.#error = null;
    if (!this.#watching) {
      this.#watching = true;
      this.#unlistenRestored ??= onRestored(() => this.#restore());
      this.#watch.addFirst(
        (status) => this.#follow(status),
        (error) => {
          this.#watching = false;
          this.#fail(error);
        },
      );
    }
    if (!isKnown) void this.#connect();
  }

  /**
   * The client of the current run, or of the next one. Rejects with a `SidecarError` if the sidecar does not come back by itself,
   * or no run starts within `timeout` milliseconds; with the signal's reason when the signal is aborted.
   */
  async client(timeout: number, signal?: AbortSignal | null): Promise<RunClient> {
    let reason = unavailable(this.sidecar, this.#status);
    const poll = () => {
      if (this.#run) return this.#usableClient();
      reason = unavailable(this.sidecar, this.#status);
      if (this.#status && !reason.temporary) throw reason.error;
      return null;
    };
    let client = await this.#wait(poll, timeout, signal);
    // The timeout is for a sidecar without a run. While a run serves, only the app's response is missing.
    if (client === null && this.#run) client = await this.#wait(poll, STATUS_LAG_MS, signal);
    if (client === null) throw reason.error;
    return client;
  }

  /** The client of the current run, or of the next one, however long that takes. Null when the signal is aborted. */
  async nextClient(signal: AbortSignal): Promise<RunClient | null> {
    try {
      return await this.#wait(() => this.#usableClient(), Number.POSITIVE_INFINITY, signal);
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  /** Whether a request failed because its run ended. Waits for the status, which can arrive later than the failure. */
  async isGone({ gone }: RunClient, signal?: AbortSignal | null): Promise<boolean> {
    await sleep(STATUS_LAG_MS, gone, signal);
    signal?.throwIfAborted();
    return gone.aborted;
  }

  /**
   * Whether the run of this client still serves, so that it sent the 401. If not, the next run sent it, on the same port and
   * with another token. Asks the app for the current run; resolves with true if the signal is aborted before the app responds.
   */
  async isCurrent(client: RunClient, signal?: AbortSignal | null): Promise<boolean> {
    if (!client.isPrivate) return true;
    const access = await orNull(this.#callConnect(), client.gone, signal);
    if (signal?.aborted || (access && client.matches(access))) return true;
    if (access) this.#access = access;
    if (this.#run?.client === client) this.#end(this.#run);
    return false;
  }

  #wait<T>(poll: () => T | null, timeout: number, signal?: AbortSignal | null): Promise<T | null> {
    this.open();
    if (this.#status?.readiness === "idle" || (this.#needsLease && this.#lease === null))
      void this.#connect();
    const pollOrThrow = () => {
      if (this.#error) throw this.#error;
      return poll();
    };
    return waitFor(this.#waiters, pollOrThrow, timeout, signal);
  }

  #follow(status: Status): void {
    this.#status = status;
    const { url, pid } = status;
    this.remember(url);
    if (this.#run && !isSameRun(this.#run, status)) this.#end(this.#run);
    if (url !== null && this.#run === null) {
      this.#run = { url, pid, controller: new AbortController(), client: null };
      this.#createClient();
      if (!this.#run.client) void this.#connect();
    }
    // What uses the sidecar waits for its next run, which needs a request.
    if (status.readiness === "idle" && this.#uses > 0) void this.#connect();
    this.#notify();
  }

  /** The client of the current run, while the run is certain to go on. */
  #usableClient(): RunClient | null {
    return this.#needsLease && this.#lease === null ? null : (this.#run?.client ?? null);
  }

  #lingerIfUnused(): void {
    clearTimeout(this.#linger);
    if (this.#uses > 0 || this.#lease === null) return;
    this.#linger = setTimeout(() => this.#setLease(null), LEASE_LINGER_MS);
  }

  /** Replaces the lease, and ends the one before. */
  #setLease(lease: number | null): void {
    const before = this.#lease;
    this.#lease = lease;
    if (before !== null) unwatch(before);
    this.#lingerIfUnused();
  }

  /** The app has ended the lease. The status tells of another run. */
  #restore(): void {
    clearTimeout(this.#linger);
    this.#lease = null;
    if (this.#needsLease && this.#uses > 0) void this.#connect();
  }

  #end({ controller }: CurrentRun): void {
    this.#run = null;
    controller.abort();
  }

  /** Creates the client of the current run, if the last `Access` is of that run. */
  #createClient(): void {
    const run = this.#run;
    if (!run || run.client || !this.#access || !isSameRun(run, this.#access)) return;
    run.client = new RunClient(this.sidecar, this.#access, run.controller.signal);
  }

  /** Calls `connect`, one call at a time; again if another run has started meanwhile. */
  async #connect(): Promise<void> {
    if (this.#connecting) return;
    this.#connecting = true;
    let run: CurrentRun | null;
    do {
      run = this.#run;
      try {
        this.#access = await this.#callConnect();
        this.#createClient();
        this.#notify();
      } catch (error) {
        // The status reports a `SidecarError` as well. Any other error means that this page may not call the sidecar.
        if (!(error instanceof SidecarError)) this.#fail(error as Error);
      }
    } while (!this.#error && this.#run && !this.#run.client && this.#run !== run);
    this.#connecting = false;
  }

  async #callConnect(): Promise<Access> {
    const { lease = null, ...access } = await call<Connection>("connect", { sidecar: this.sidecar });
    this.#needsLease = lease !== null;
    this.#setLease(lease);
    return access;
  }

  #fail(error: Error): void {
    this.#error = error;
    this.#notify();
  }

  #notify(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}

function isSameRun(run: CurrentRun, { url, pid }: { url: string | null; pid: number | null }): boolean {
  return run.url === url && run.pid === pid;
}
