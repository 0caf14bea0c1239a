import { type Failure, type Host, SidecarError } from "./tauri";

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

/** Why a call failed. `unavailable`: there is no backend to call; the others: there is one, and the call went wrong. */
export type Problem =
  | { kind: "unavailable"; failure: Failure | null }
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

/** How a request travels: the webview's own `fetch`, or the one of plugin-http. */
export type Transport = (url: string, init?: RequestInit) => Promise<Response>;

/** A backend that has not answered a health check for so long, in milliseconds, counts as not answering. */
const HEALTH_TIMEOUT = 5_000;

export class BackendClient {
  readonly #host: Pick<Host, "backendPort">;
  readonly #transport: Transport;
  #known: number | null = null;
  #asked: Promise<number> | null = null;

  constructor(host: Pick<Host, "backendPort">, transport: Transport = (url, init) => fetch(url, init)) {
    this.#host = host;
    this.#transport = transport;
  }

  /**
   * The backend's port, once it is ready. Callers who come while the host is being asked share its answer; a refusal
   * is handed to them and forgotten, so that the next caller asks again.
   */
  port(): Promise<number> {
    if (this.#known !== null) return Promise.resolve(this.#known);
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = null;
    });
    return this.#asked;
  }

  /** Tells the client of a port learned elsewhere, as from the status stream; null when the backend is gone. */
  follow(port: number | null): void {
    this.#known = port;
  }

  /** The full address of `path`, which begins with a slash. */
  async url(path: string): Promise<string> {
    return `http://127.0.0.1:${await this.port()}${path}`;
  }

  /**
   * Requests `path` and decodes its JSON; an empty body is `undefined`. Without `decode` the shape is taken on trust.
   * Rejects with a `BackendError`, of kind `aborted` or `timeout` when `init.signal` ended it.
   */
  async call<T>(path: string, init: RequestInit = {}, decode = (body: unknown) => body as T): Promise<T> {
    const url = await this.url(path);
    const text = await this.#text(url, init);
    try {
      return decode(text === "" ? undefined : JSON.parse(text));
    } catch (cause) {
      throw new BackendError({ kind: "decode" }, `The answer to ${path} could not be understood.`, cause);
    }
  }

  /** Asks the backend how it is; an answer of another shape, or none within five seconds, is an error. */
  async healthCheck(): Promise<Health> {
    // The five seconds are for the answer, and do not run while the backend is still starting.
    await this.port();
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT);
    return this.call("/health", { cache: "no-store", signal }, decodeHealth);
  }

  async #ask(): Promise<number> {
    try {
      const port = await this.#host.backendPort();
      // The status stream may have been quicker, and it knows better: it also tells of later ports.
      this.#known ??= port;
      return port;
    } catch (cause) {
      const failure = cause instanceof SidecarError ? cause.failure : null;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new BackendError({ kind: "unavailable", failure }, message, cause);
    }
  }

  async #text(url: string, init: RequestInit): Promise<string> {
    let response: Response;
    let body: string;
    try {
      response = await this.#transport(url, init);
      body = await response.text();
    } catch (cause) {
      throw requestError(cause, init.signal);
    }
    if (response.ok) return body;
    const { status } = response;
    throw new BackendError({ kind: "http", status, body }, `The backend answered with status ${status}.`);
  }
}

/** The signal, not the exception, says whether the caller ended the request: plugin-http rejects with plain strings. */
function requestError(cause: unknown, signal: AbortSignal | null | undefined): BackendError {
  if (!signal?.aborted) {
    return new BackendError({ kind: "network" }, "The backend could not be reached.", cause);
  }
  return (signal.reason as Error | undefined)?.name === "TimeoutError"
    ? new BackendError({ kind: "timeout" }, "The backend did not answer in time.", cause)
    : new BackendError({ kind: "aborted" }, "The request was cancelled.", cause);
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
