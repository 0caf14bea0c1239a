import { type Failure, type Host, type RequestOptions, SidecarError } from "./tauri";

/** What `GET /health` answers; the backend may leave out what is optional. */
export interface Health {
  status: "ok";
  app: string;
  /** The backend's clock, in milliseconds since the epoch. */
  timestamp: number;
  /** Seconds since the backend started. */
  uptime: number;
  version?: string;
  /** The nonce that the supervisor gave this run of the backend. */
  instance?: string;
}

/**
 * Why a call failed. `unavailable`: there is no backend to call, and `failure` is why, where that is known;
 * `interrupted`: it went away before it answered, and the call may have been carried out; the others: there is one, and
 * the call went wrong.
 */
export type Problem =
  | { kind: "unavailable"; failure: Failure | null }
  | { kind: "interrupted" }
  | { kind: "network" }
  | { kind: "timeout" }
  | { kind: "http"; status: number; body: string }
  | { kind: "decode" }
  | { kind: "aborted" };

/** The only error that `BackendClient` rejects with; `message` is fit to be shown. */
export class BackendError extends Error {
  override readonly name = "BackendError";
  readonly problem: Problem;

  constructor(problem: Problem, message: string, cause?: unknown) {
    super(message, { cause });
    this.problem = problem;
  }
}

/** How a request travels to the backend: the host's `fetch`, but for tests. */
export type Transport = Host["fetch"];

/** A backend that has not answered a health check for so long, in milliseconds, counts as not answering. */
const HEALTH_TIMEOUT = 5_000;

/** Calls in JSON, whose failures are values. Where the backend is, and whether it is there, is the transport's matter. */
export class BackendClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Requests `path` and decodes its JSON; an empty body is `undefined`. Without `decode` the shape is taken on trust.
   * Rejects with a `BackendError`, of kind `aborted` or `timeout` when `init.signal` ended it.
   */
  async call<T>(path: string, init: RequestOptions = {}, decode = (body: unknown) => body as T): Promise<T> {
    const text = await this.#text(path, init);
    try {
      return decode(text === "" ? undefined : JSON.parse(text));
    } catch (cause) {
      throw new BackendError({ kind: "decode" }, `The answer to ${path} could not be understood.`, cause);
    }
  }

  /**
   * Asks the backend of the moment how it is; an answer of another shape, or none within five seconds, is an error.
   * The next run is not waited for: how that one is would be another question.
   */
  async healthCheck(): Promise<Health> {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT);
    return this.call("/health", { cache: "no-store", signal, retry: false, patience: 0 }, decodeHealth);
  }

  async #text(path: string, init: RequestOptions): Promise<string> {
    let response: Response;
    let body: string;
    try {
      response = await this.#transport(path, init);
      body = await response.text();
    } catch (cause) {
      throw requestError(cause, init.signal);
    }
    if (response.ok) return body;
    const { status } = response;
    throw new BackendError({ kind: "http", status, body }, `The backend answered with status ${status}.`);
  }
}

/** The signal, not the exception, says whether the caller ended the request: a transport may reject with plain strings. */
function requestError(cause: unknown, signal: AbortSignal | null | undefined): BackendError {
  if (signal?.aborted) {
    return (signal.reason as Error | undefined)?.name === "TimeoutError"
      ? new BackendError({ kind: "timeout" }, "The backend did not answer in time.", cause)
      : new BackendError({ kind: "aborted" }, "The request was cancelled.", cause);
  }
  // What the network did is a TypeError, in whose words nobody would recognise it.
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
