import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./backend-api";
import { type Failure, type Host, SidecarError } from "./tauri";

/** The response to `GET /health`. */
export type Health = components["schemas"]["SidecarHealth"];

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

/** How long a health check waits for the response, in milliseconds. */
const HEALTH_TIMEOUT = 5_000;

/** Calls the operations of the backend's OpenAPI document, in JSON. The host's `fetch` finds the backend and waits for it. */
export class BackendClient {
  readonly #host: Pick<Host, "fetch" | "baseUrl">;

  constructor(host: Pick<Host, "fetch" | "baseUrl">) {
    this.#host = host;
  }

  /**
   * Calls one operation, as in `call((api) => api.GET("/health"))`, and resolves with its data; an empty body is `undefined`. Without
   * `decode`, the shape is not checked. Rejects with a `BackendError`; its kind is `aborted` or `timeout` if the operation's signal
   * was aborted.
   */
  async call<T>(
    operation: (api: Client<paths>) => Promise<{ data?: T }>,
    decode = (data: unknown) => data as T,
  ): Promise<T> {
    const { baseUrl, fetch } = this.#host;
    let request: Request | undefined;
    // A client is only a few functions, so each call has its own, which knows the request.
    const api = createClient<paths>({
      baseUrl,
      fetch: async (built) => {
        request = built;
        const response = await fetch(built);
        if (response.ok) return response;
        throw httpError(response.status, await response.text());
      },
    });
    let data: unknown;
    try {
      data = (await operation(api)).data;
    } catch (cause) {
      if (cause instanceof BackendError) throw cause;
      throw cause instanceof SyntaxError ? decodeError(request, cause) : requestError(cause, request?.signal);
    }
    try {
      return decode(data);
    } catch (cause) {
      throw decodeError(request, cause);
    }
  }

  /**
   * Checks the health of the current run. A response of another shape, or none within five seconds, is an error. It does not wait
   * for another run, because its health would say nothing about this one.
   */
  async healthCheck(): Promise<Health> {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT);
    const options = { cache: "no-store", signal, retry: false, connectTimeout: 0 } as const;
    return this.call((api) => api.GET("/health", options), decodeHealth);
  }
}

function httpError(status: number, body: string): BackendError {
  return new BackendError({ kind: "http", status, body }, `The backend responded with status ${status}.`);
}

function decodeError(request: Request | undefined, cause: unknown): BackendError {
  const path = request === undefined ? "the request" : new URL(request.url).pathname;
  return new BackendError({ kind: "decode" }, `The response to ${path} is not valid.`, cause);
}

/** The signal, not the exception, tells whether the caller aborted the request: some implementations of `fetch` reject with strings. */
function requestError(cause: unknown, signal: AbortSignal | undefined): BackendError {
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
