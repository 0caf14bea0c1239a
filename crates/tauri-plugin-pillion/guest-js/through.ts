/** `fetch` by way of the app: for a sidecar on a socket, which no page gets to by itself. */
import { SidecarError } from "./error.js";
import { join, split } from "./framing.js";
import { call } from "./ipc.js";
import { onAbort } from "./signals.js";

/** What a request to a socket names, so that its parts are parsed as those of any other: docs/protocol.md, rule 5. */
export const ORIGIN = "http://localhost";

interface Head {
  method: string;
  path: string;
  headers: [name: string, value: string][];
}

interface Answer {
  status: number;
  headers: [name: string, value: string][];
  ended: boolean;
}

/** As many redirects as `fetch` follows: https://fetch.spec.whatwg.org/#http-redirect-fetch. */
const REDIRECTS = 20;
const REDIRECT_STATUS = new Set([301, 302, 303, 307, 308]);

/** https://fetch.spec.whatwg.org/#null-body-status; of these a response is made without a body. */
const NULL_BODY_STATUS = new Set([101, 103, 204, 205, 304]);

/** A page that loads anew must not name the requests of the one before. */
let last = crypto.getRandomValues(new Uint32Array(1))[0] as number;

/**
 * Rejects as `fetch` does. The body of the request is read whole before it is sent; that of the answer comes as it is read.
 * There is no HTTP cache and no cookie, and a redirect is followed within the sidecar.
 */
export async function fetchThroughApp(sidecar: string, request: Request): Promise<Response> {
  const headers = new Headers(request.headers);
  if (!headers.has("accept")) headers.set("accept", "*/*");
  let { method } = request;
  let url = new URL(request.url);
  let body = await request.arrayBuffer();
  for (let followed = 0; ; followed++) {
    const head = { method, path: url.pathname + url.search, headers: [...headers] };
    const response = await exchange(sidecar, head, body, request.signal);
    const location = response.headers.get("location");
    if (!REDIRECT_STATUS.has(response.status) || location === null || request.redirect === "manual") {
      return response;
    }
    await response.body?.cancel();
    url = new URL(location, url);
    if (request.redirect === "error" || followed === REDIRECTS || url.origin !== ORIGIN) {
      throw new TypeError(`a redirect to ${url} is not followed`);
    }
    const { status } = response;
    if (status === 303 ? method !== "GET" && method !== "HEAD" : status < 303 && method === "POST") {
      method = "GET";
      body = new ArrayBuffer(0);
      for (const name of ["content-type", "content-encoding", "content-language", "content-location"]) {
        headers.delete(name);
      }
    }
  }
}

async function exchange(
  sidecar: string,
  head: Head,
  sent: ArrayBuffer,
  signal: AbortSignal,
): Promise<Response> {
  signal.throwIfAborted();
  last = (last + 1) >>> 0;
  const id = last;
  const asked = call<ArrayBuffer | number[]>("request", join({ id, sidecar, ...head }, sent));
  const message = await new Promise<ArrayBuffer | number[]>((resolve, reject) => {
    const deaf = onAbort([signal], ({ reason }) => {
      reject(reason);
      cancel(id);
      // The app may hear of it before it hears of the request.
      asked.then(
        () => cancel(id),
        () => {},
      );
    });
    asked.then(resolve, (error) => reject(networkError(error))).finally(deaf);
  });
  const { head: answer, body } = split<Answer>(message);
  const { status } = answer;
  const isNull = NULL_BODY_STATUS.has(status) || head.method === "HEAD";
  if (isNull && !answer.ended) cancel(id);
  const content = answer.ended ? body : rest(id, body, signal);
  const response = new Response(isNull ? null : content, { status, headers: answer.headers });
  return Object.defineProperty(response, "url", { value: ORIGIN + head.path });
}

/** A body whose beginning is here. The app is asked for no more than one piece that nobody has read. */
function rest(
  id: number,
  start: Uint8Array<ArrayBuffer>,
  signal: AbortSignal,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let deaf = () => {};
  return new ReadableStream({
    start(controller) {
      if (start.length > 0) controller.enqueue(start);
      deaf = onAbort([signal], ({ reason }) => {
        controller.error(reason);
        cancel(id);
      });
    },
    async pull(controller) {
      try {
        const piece = new Uint8Array(await call<ArrayBuffer | number[]>("read", { id }));
        // Either throws where the body was given up meanwhile, and the error is then of no effect.
        if (piece.length > 0) return controller.enqueue(piece);
        controller.close();
      } catch (error) {
        controller.error(networkError(error));
      }
      deaf();
    },
    cancel() {
      deaf();
      cancel(id);
    },
  });
}

/** Nothing is left to be cancelled, or the app ends: whatever it says, the page has nothing to do about it. */
function cancel(id: number): void {
  call("cancel", { id }).catch(() => {});
}

/** What `fetch` rejects with when there is no answer; that a sidecar is down is told as ever. */
function networkError(error: unknown): unknown {
  return error instanceof SidecarError ? error : new TypeError(String((error as Error).message));
}
