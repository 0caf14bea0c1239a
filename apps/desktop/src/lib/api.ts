import { type Failure, type Host, type RequestOptions, SidecarError } from "./tauri";

/** The response to `GET /health`. */
export interface Health {
  status: "ok";
  app: string;
  /** The time on the backend's clock, in milliseconds since the epoch. */
  timestamp: number;
  /** Seconds since the backend started. */
  uptime: number;
  version?: string;
  /** The instance of this run, which the supervisor chose. */
  instance?: string;
}

/**
 * Why a call failed. `unavailable`: the backend is down, and `failure` says why, if that is known. `interrupted`: the backend
 * ended before it responded, and the call may have taken effect. All others: the backend is up, and the call failed.
 */
export type Problem =
  | { kind: "unavailable"; failure: Failure | null }
  | { kind: "interrupted" }
  | { kind: "network" }
  | { kind: "timeout" }
  | { kind: "http"; status: number; body: string }
  | { kind: "decode" }
  | { kind: "aborted" };

/** The only error that `BackendClient` rejects with. Its `message` can be shown to the user. */
export class BackendError extends Error {
  override readonly name = "BackendError";
  readonly problem: Problem;

  constructor(problem: Problem, message: string, cause?: unknown) {
    super(message, { cause });
    this.problem = problem;
  }
}

/** Sends a request to the backend: the host's `fetch`, except in tests. */
export type FetchBackend = Host["fetch"];

/** How long a health check waits for the response, in milliseconds. */
const HEALTH_TIMEOUT = 5_000;

/** Calls to the backend in JSON. `FetchBackend` finds the backend and waits for it. */
export class BackendClient {
  readonly #fetch: FetchBackend;

  constructor(fetch: FetchBackend) {
    this.#fetch = fetch;
  }

  /**
   * Requests `path` and decodes its JSON; an empty body becomes `undefined`. Without `decode`, the shape is not checked. Rejects
   * with a `BackendError`; its kind is `aborted` or `timeout` if `init.signal` was aborted.
   */
  async call<T>(path: string, init: RequestOptions = {}, decode = (body: unknown) => body as T): Promise<T> {
    const text = await this.#text(path, init);
    try {
      return decode(text === "" ? undefined : JSON.parse(text));
    } catch (cause) {
      throw new BackendError({ kind: "decode" }, `The response to ${path} is not valid.`, cause);
    }
  }

  /**
   * Checks the health of the current run. A response of another shape, or none within five seconds, is an error. It does not wait
   * for another run, because its health would say nothing about this one.
   */
  async healthCheck(): Promise<Health> {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT);
    return this.call("/health", { cache: "no-store", signal, retry: false, connectTimeout: 0 }, decodeHealth);
  }

  async #text(path: string, init: RequestOptions): Promise<string> {
    let response: Response;
    let body: string;
    try {
      response = await this.#fetch(path, init);
      body = await response.text();
    } catch (cause) {
      throw requestError(cause, init.signal);
    }
    if (response.ok) return body;
    const { status } = response;
    throw new BackendError({ kind: "http", status, body }, `The backend responded with status ${status}.`);
  }
}

/** The signal, not the exception, tells whether the caller aborted the request: some implementations of `fetch` reject with strings. */
function requestError(cause: unknown, signal: AbortSignal | null | undefined): BackendError {
  if (signal?.aborted) {
    return (signal.reason as Error | undefined)?.name === "TimeoutError"
      ? new BackendError({ kind: "timeout" }, "The backend did not respond in time.", cause)
      : new BackendError({ kind: "aborted" }, "The request was cancelled.", cause);
  }
  // A network error is a TypeError, whose message explains nothing to the user.
  if (!(cause instanceof Error) || cause instanceof TypeError) {
    return new BackendError({ kind: "network" }, "The backend could not be reached.", cause);
  }
  if (cause instanceof SidecarError && cause.kind === "interrupted") {
    return new BackendError({ kind: "interrupted" }, cause.message, cause);
  }
  const failure = cause instanceof SidecarError ? cause.failure : null;
  return new BackendError({ kind: "unavailable", failure }, cause.message, cause);
}

function decodeHealth(body: unknown): Health {
  const { status, app, timestamp, uptime, version, instance } = body as Record<keyof Health, unknown>;
  if (status !== "ok") throw new Error(`health status is ${JSON.stringify(status)}`);
  return {
    status,
    app: expectType(app, "string", "app"),
    timestamp: expectType(timestamp, "number", "timestamp"),
    uptime: expectType(uptime, "number", "uptime"),
    ...(version != null && { version: expectType(version, "string", "version") }),
    ...(instance != null && { instance: expectType(instance, "string", "instance") }),
  };
}

interface JsonTypes {
  string: string;
  number: number;
}

function expectType<K extends keyof JsonTypes>(value: unknown, type: K, name: string): JsonTypes[K] {
  if (typeof value === type) return value as JsonTypes[K];
  throw new Error(`health.${name} is ${JSON.stringify(value)}, not a ${type}`);
}
