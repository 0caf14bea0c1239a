/** `fetch` through the app's proxy, for a sidecar without a port, which a page cannot reach by itself. */
import { onAbort } from "./abort.js";
import { readChunk } from "./chunk-event.js";
import { decodeContent } from "./content-coding.js";
import { SidecarError } from "./error.js";
import { checkIntegrity } from "./integrity.js";
import { AnswerLost, call, cancel, nextId } from "./ipc.js";
import { decode, encode, type ResponseHead } from "./ipc-message.js";
import { bodyOf, Upload, type UploadBody } from "./ipc-upload.js";
import { isA } from "./kind.js";
import { withProperties } from "./response-properties.js";

/** The origin of the URLs of a sidecar without a port, so that paths are resolved as usual: docs/protocol.md, rule 5. */
export const ORIGIN = "http://localhost";

type Header = [name: string, value: string];

interface RequestHead {
  method: string;
  path: string;
  headers: Header[];
}

/** As many redirects as `fetch` follows: https://fetch.spec.whatwg.org/#http-redirect-fetch. */
const MAX_REDIRECTS = 20;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);

/** A `Response` with one of these has no body: https://fetch.spec.whatwg.org/#null-body-status. */
const NULL_BODY_STATUS = new Set([101, 103, 204, 205, 304]);

/** The headers that a request loses with its body: https://fetch.spec.whatwg.org/#request-body-header-name. */
const BODY_HEADERS = new Set(["content-type", "content-encoding", "content-language", "content-location"]);

/**
 * How many chunks of a large body the page asks for at a time: the webview passes several on faster than one after another. After a chunk
 * of fewer bytes than `LARGE_CHUNK`, as of an event stream, it asks for one.
 */
const PARALLEL_READS = 3;
const LARGE_CHUNK = 64 * 1024;

/**
 * Rejects as `fetch` does. Bodies stream in both directions; that of a request is sent in pieces if it is a stream or a large file. It uses
 * no HTTP cache and no cookies. A redirect is followed only within the sidecar. `rejectUnsupported` has checked the options.
 *
 * `signal` is that of the caller. Each `Request` has one, but to listen to it takes time, and without a caller's it is never aborted.
 */
export async function ipcFetch(
  sidecar: string,
  request: Request,
  signal: AbortSignal | null,
): Promise<Response> {
  let headers = headersOf(request);
  let { method } = request;
  let url = new URL(request.url);
  let body = await bodyOf(request);
  for (let redirects = 0; ; redirects++) {
    const head = { method, path: url.pathname + url.search, headers };
    const response = await exchange(sidecar, head, body, signal, redirects > 0);
    const location = response.headers.get("location");
    if (!REDIRECT_STATUS.has(response.status) || location === null || request.redirect === "manual") {
      return request.integrity ? checkIntegrity(response, request.integrity) : response;
    }
    await response.body?.cancel();
    url = new URL(location, url);
    if (request.redirect === "error" || redirects === MAX_REDIRECTS || url.origin !== ORIGIN) {
      throw new TypeError(`the redirect to ${url} is not followed`);
    }
    const { status } = response;
    // https://fetch.spec.whatwg.org/#http-redirect-fetch, step 11: a stream cannot be sent again.
    if (status !== 303 && isA("ReadableStream", body)) {
      throw new TypeError(
        `the redirect to ${url} is not followed, because the body of the request is a stream`,
      );
    }
    if (status === 303 ? method !== "GET" && method !== "HEAD" : status < 303 && method === "POST") {
      method = "GET";
      body = new ArrayBuffer(0);
      headers = headers.filter(([name]) => !BODY_HEADERS.has(name));
    }
  }
}

/** Throws for options that need a browser's network stack: a cookie jar, a cache, a referrer, an opaque response. */
export function rejectUnsupported({
  mode,
  credentials,
  cache,
  keepalive,
  referrer,
  referrerPolicy,
}: Request): void {
  const options: [name: string, value: unknown, supported: unknown[]][] = [
    ["mode", mode, ["cors"]],
    ["credentials", credentials, ["omit", "same-origin"]],
    ["cache", cache, ["default", "no-store", "reload", "no-cache", "force-cache"]],
    ["keepalive", keepalive, [false]],
    ["referrer", referrer, ["about:client", ""]],
    ["referrerPolicy", referrerPolicy, ["", "no-referrer"]],
  ];
  for (const [name, value, supported] of options) {
    // A webview that lacks an option ignores it also in `fetch`.
    if (value === undefined || supported.includes(value)) continue;
    throw new TypeError(
      `the option ${name}: ${JSON.stringify(value)} is not supported for a sidecar without a port; supported: ${JSON.stringify(supported)}`,
    );
  }
}

/** The headers of the request, and those that `fetch` adds: https://fetch.spec.whatwg.org/#http-network-or-cache-fetch. */
function headersOf({ headers, cache }: Request): Header[] {
  const all = [...headers].filter(([name]) => name !== "accept-encoding");
  const add = (name: string, value: string) => {
    if (!headers.has(name)) all.push([name, value]);
  };
  add("accept", "*/*");
  if (cache === "no-cache") add("cache-control", "max-age=0");
  if (cache === "no-store" || cache === "reload") {
    add("pragma", "no-cache");
    add("cache-control", "no-cache");
  }
  // Compression would cost time on a local connection and save none. A response that is compressed all the same is decoded.
  all.push(["accept-encoding", "identity"]);
  return all;
}

async function exchange(
  sidecar: string,
  requestHead: RequestHead,
  requestBody: ArrayBuffer | UploadBody,
  signal: AbortSignal | null,
  redirected: boolean,
): Promise<Response> {
  signal?.throwIfAborted();
  const id = nextId();
  const whole = isA("ArrayBuffer", requestBody) ? requestBody : new ArrayBuffer(0);
  const upload = isA("ArrayBuffer", requestBody) ? null : new Upload(id, sidecar, requestBody);
  // Before the app gets the request, because its calls may overtake each other.
  await upload?.begin().catch((error) => {
    upload.stop(error);
    throw networkError(error);
  });
  const message = encode({ id, sidecar, ...requestHead, ...(upload && { upload: true }) }, whole);
  const pending = call<ArrayBuffer | number[]>("request", message);
  const answer = await new Promise<ArrayBuffer | number[]>((resolve, reject) => {
    const abort = (reason: unknown) => {
      reject(reason);
      upload?.stop(reason);
      cancel(id);
      // The app may handle this `cancel` before the `request`: cancel again once the app has responded.
      pending.then(
        () => cancel(id),
        () => {},
      );
    };
    const unlisten = onAbort([signal], ({ reason }) => abort(reason));
    // Also after the response: its body then breaks off.
    upload?.run().catch((error) => abort(networkError(error)));
    const fail = (error: unknown) => {
      // The app may go on with the request.
      if (error instanceof AnswerLost) cancel(id);
      reject(networkError(error));
    };
    pending.then(resolve, fail).finally(unlisten);
  }).catch((error) => {
    upload?.stop(error);
    // The app may not have got as far as to the request.
    if (upload) cancel(id);
    throw error;
  });
  const { head, body } = decode<ResponseHead & { superseded?: boolean }>(answer);
  if (head.superseded) {
    const reason = new TypeError("the run that the request was for has ended");
    upload?.stop(reason);
    if (isA("ReadableStream", requestBody)) throw reason;
    return exchange(sidecar, requestHead, requestBody, signal, redirected);
  }
  const response = await responseOf(id, requestHead, head, body, signal, () => upload?.stop());
  return withProperties(response, { url: ORIGIN + requestHead.path, redirected, signal });
}

/** The response whose body begins with `body`. Calls `end` when the sidecar has answered as a whole: it wants no more of the request. */
async function responseOf(
  id: number,
  requestHead: RequestHead,
  head: ResponseHead,
  body: Uint8Array<ArrayBuffer>,
  signal: AbortSignal | null,
  end: () => void,
): Promise<Response> {
  const { status, statusText } = head;
  const hasNoBody = NULL_BODY_STATUS.has(status) || requestHead.method === "HEAD";
  if (hasNoBody && !head.ended) cancel(id);
  const codings = head.headers.filter(([name]) => name === "content-encoding").map(([, value]) => value);
  if (head.ended || hasNoBody) end();
  const content = head.ended || hasNoBody ? body : bodyStream(id, body, signal, end);
  try {
    const decoded = hasNoBody ? null : decodeContent(content, codings.join());
    return new Response(decoded, { status, statusText, headers: head.headers });
  } catch (error) {
    if (content instanceof ReadableStream) await content.cancel();
    // A `RangeError` for a status that a `Response` cannot have: https://fetch.spec.whatwg.org/#initialize-a-response.
    throw networkError(error);
  }
}

/**
 * A response body that begins with `start`; `end` is called at its end, whatever that is. It asks the app for at most one chunk ahead of the
 * reader, and for `PARALLEL_READS` of a large body.
 */
function bodyStream(
  id: number,
  start: Uint8Array<ArrayBuffer>,
  signal: AbortSignal | null,
  end: () => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let unlisten = () => {};
  let asked = 0;
  let ahead = 1;
  const reads: Promise<Uint8Array<ArrayBuffer>>[] = [];
  const ask = () => {
    const read = readChunk(id, asked++, ahead > 1);
    // `pull` sees the errors. Reads beyond the end of the body fail as well, and are not waited for.
    read.catch(() => {});
    return read;
  };
  return new ReadableStream({
    start(controller) {
      if (start.length > 0) controller.enqueue(start);
      unlisten = onAbort([signal], ({ reason }) => {
        controller.error(reason);
        end();
        cancel(id);
      });
    },
    async pull(controller) {
      try {
        while (reads.length < ahead) reads.push(ask());
        const chunk = (await reads.shift()) ?? new Uint8Array();
        ahead = chunk.length < LARGE_CHUNK ? 1 : PARALLEL_READS;
        // Both calls throw if the body was cancelled meanwhile; `error` below then has no effect.
        if (chunk.length > 0) return controller.enqueue(chunk);
        controller.close();
      } catch (error) {
        if (error instanceof AnswerLost) cancel(id);
        controller.error(networkError(error));
      }
      unlisten();
      end();
    },
    cancel() {
      unlisten();
      end();
      cancel(id);
    },
  });
}

/** A `TypeError`, as `fetch` rejects with; a `SidecarError` is kept. A stream may fail with any value. */
function networkError(error: unknown): unknown {
  if (error instanceof SidecarError) return error;
  return new TypeError(error instanceof Error ? error.message : String(error));
}
