/** Finds out which request the arguments of `Sidecar.fetch` describe, before it is known which run receives it. */
import { abortable } from "./abort.js";
import { isA } from "./kind.js";

/**
 * The base of absolute URLs that mean the sidecar's current run, for clients that need one. Names below `.invalid` never resolve
 * (https://www.rfc-editor.org/rfc/rfc6761#section-6.4), so a request that goes to the platform's `fetch` by mistake fails.
 */
export const BASE_URL = "http://sidecar.invalid";

/** A request without a host. */
export interface Target {
  /** The path and the query; begins with a slash. */
  readonly path: string;
  /** Scheme, host and port of the caller's URL. Null for a path, and for `BASE_URL`. */
  readonly base: string | null;
  readonly signal: AbortSignal | null | undefined;
  /** Whether the body can be read only once. */
  readonly isStream: boolean;
  /** The options of the request. Its body is read before this promise resolves, if the caller passed a `Request`. */
  init(): Promise<RequestInit>;
}

/** Throws a `TypeError` if the URL or the options are invalid. Marks the body of a `Request` as used, as `fetch` does. */
export function targetOf(input: RequestInfo | URL, init: RequestInit): Target {
  if (typeof input === "object" && "method" in input) return targetOfRequest(input, init);
  const { signal, body } = init;
  return {
    ...locate(String(input)),
    signal,
    isStream: isA("ReadableStream", body),
    init: () => Promise.resolve(init),
  };
}

/**
 * A `Request` keeps its URL for good, and as an option of another one its body is a stream, which webviews do not send over
 * HTTP/1.1 (https://developer.chrome.com/docs/capabilities/web-apis/fetch-streaming-requests). So its body is read to the end, and
 * its bytes may be sent again.
 */
function targetOfRequest(input: Request, options: RequestInit): Target {
  const request = new Request(input, options);
  // The signal of `request` follows this one, and has listeners that nothing removes.
  const signal = options.signal === undefined ? input.signal : options.signal;
  const body = hasNoBody(request.method) ? Promise.resolve(null) : request.arrayBuffer();
  // `init` reports the error, if the request gets that far.
  body.catch(() => {});
  return {
    ...locate(request.url),
    signal,
    isStream: false,
    init: async () => ({ ...settingsOf(request), signal, body: await abortable(body, signal) }),
  };
}

/** https://fetch.spec.whatwg.org/#dom-request, step 36. */
function hasNoBody(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** The properties of a `Request` do not belong to the object itself, so that a spread does not copy them. */
function settingsOf(request: Request): RequestInit {
  const { method, headers, mode, credentials, cache, redirect, referrer, referrerPolicy } = request;
  const { integrity, keepalive } = request;
  return {
    method,
    headers,
    mode,
    credentials,
    cache,
    redirect,
    referrer,
    referrerPolicy,
    integrity,
    keepalive,
  };
}

function locate(input: string): Pick<Target, "path" | "base"> {
  if (input.startsWith("/")) return { path: input, base: null };
  const url = parse(input);
  if (url.username !== "" || url.password !== "") {
    throw new TypeError(`the URL of a request cannot contain credentials: ${url.protocol}//…@${url.host}`);
  }
  const base = baseOf(url);
  return { path: url.pathname + url.search, base: base === BASE_URL ? null : base };
}

function parse(input: string): URL {
  try {
    return new URL(input);
  } catch {
    throw new TypeError(`a path begins with a slash, and ${JSON.stringify(input)} does not`);
  }
}

/** As `URL.origin`, which is `null` for the scheme of a sidecar without a port. */
export function baseOf({ protocol, host }: URL): string {
  return `${protocol}//${host}`;
}
