import type { ConnectionManager } from "./connection-manager.js";
import { Interrupted } from "./error.js";
import { targetOf } from "./target.js";
import { newTraceparent } from "./traceparent.js";

export interface RequestOptions extends RequestInit {
  /**
   * Whether the request is sent again if the run ends before it responds. By default, it is sent again if repeating it is
   * harmless: with the methods GET, HEAD, OPTIONS, PUT and DELETE, which are idempotent by RFC 9110, section 9.2.2, or with the
   * header `Idempotency-Key`. A stream in `body` is never sent twice; the body of a `Request` is read first and may be.
   */
  retry?: boolean;

  /** How long to wait for a run while the sidecar has none, in milliseconds: a minute by default. */
  connectTimeout?: number;

  /**
   * Sends a `traceparent` header, by which the spans of the sidecar become a part of a trace (W3C Trace Context): with `true`, the request
   * begins a new trace; a string is the header's value, for example that of a span of the page. A `traceparent` in `headers` is kept.
   * All attempts of a request send the same one. None is sent by default.
   */
  trace?: boolean | string;
}

const CONNECT_TIMEOUT = 60_000;

/** How often one request is sent. A higher limit would let a request that crashes its backend use up the restart limit. */
const MAX_ATTEMPTS = 3;

/** https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2, without TRACE, which pages may not send. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** `fetch` to the sidecar's current run: see `Sidecar.fetch`. */
export async function fetchWithRetries(
  manager: ConnectionManager,
  input: RequestInfo | URL,
  options: RequestOptions = {},
): Promise<Response> {
  const end = manager.use();
  const signal = options.signal === undefined ? (input as Partial<Request>).signal : options.signal;
  try {
    return manager.endUseWith(await send(manager, input, options), end, signal);
  } catch (error) {
    end();
    throw error;
  }
}

async function send(
  manager: ConnectionManager,
  input: RequestInfo | URL,
  options: RequestOptions,
): Promise<Response> {
  const { retry, connectTimeout = CONNECT_TIMEOUT, trace, ...rest } = { ...ownOptions(input), ...options };
  const traceparent = trace === true ? newTraceparent() : trace;
  const target = targetOf(input, rest);
  const { path, base, signal } = target;
  for (let attempt = 1; ; attempt++) {
    const client = await manager.client(connectTimeout, signal);
    // An invalid request throws here, before it is sent.
    if (base !== null) manager.checkBase(base);
    const request = client.request(path, await target.init());
    if (traceparent && !request.headers.has("traceparent")) request.headers.set("traceparent", traceparent);
    let cause: unknown;
    let again: boolean;
    try {
      const response = await client.fetch(request, signal);
      if (response.status !== 401 || (await manager.isCurrent(client, signal))) return response;
      // The next run rejected the token of the last one, so the request had no effect, whatever its method.
      again = retry !== false && !target.isStream;
    } catch (error) {
      // WebKit rejects with another error than the reason.
      if (signal?.aborted) throw signal.reason;
      // Only a TypeError means a network error: https://fetch.spec.whatwg.org/#fetch-method, step 12.
      if (!(error instanceof TypeError)) throw error;
      if (!(await manager.isGone(client, signal))) throw error;
      cause = error;
      again = !target.isStream && (retry ?? mayRepeat(request));
    }
    if (attempt === MAX_ATTEMPTS || !again) {
      throw new Interrupted(manager.sidecar, manager.status?.failure ?? null, cause);
    }
  }
}

function mayRepeat({ method, headers }: Request): boolean {
  return IDEMPOTENT.has(method) || headers.has("idempotency-key");
}

/** openapi-fetch calls `fetch` with one argument, and makes options that `Request` does not know properties of the `Request`. */
function ownOptions(input: RequestInfo | URL): Pick<RequestOptions, "retry" | "connectTimeout" | "trace"> {
  const { retry, connectTimeout, trace } = input as RequestOptions;
  return {
    ...(retry !== undefined && { retry }),
    ...(connectTimeout !== undefined && { connectTimeout }),
    ...(trace !== undefined && { trace }),
  };
}
