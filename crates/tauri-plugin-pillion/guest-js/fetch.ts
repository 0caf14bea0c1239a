import type { ConnectionManager } from "./connection-manager.js";
import { Interrupted } from "./error.js";

export interface RequestOptions extends RequestInit {
  /**
   * Whether the request is sent again if the run ends before it responds. By default, it is sent again if repeating it is
   * harmless: with the methods GET, HEAD, OPTIONS, PUT and DELETE, which are idempotent by RFC 9110, section 9.2.2, or with the
   * header `Idempotency-Key`. A body that is a stream is never sent twice.
   */
  retry?: boolean;

  /** How long to wait for a run while the sidecar has none, in milliseconds: a minute by default. */
  connectTimeout?: number;
}

const CONNECT_TIMEOUT = 60_000;

/** How often one request is sent. A higher limit would let a request that crashes its backend use up the restart limit. */
const MAX_ATTEMPTS = 3;

/** https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2, without TRACE, which pages may not send. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** `fetch` to the sidecar's current run: see `Sidecar.fetch`. */
export async function fetchWithRetries(
  manager: ConnectionManager,
  path: string,
  options: RequestOptions = {},
): Promise<Response> {
  const { retry, connectTimeout = CONNECT_TIMEOUT, ...init } = options;
  for (let attempt = 1; ; attempt++) {
    const client = await manager.client(connectTimeout, init.signal);
    // An invalid request throws here, before it is sent.
    const request = client.request(path, init);
    let cause: unknown;
    let again: boolean;
    try {
      const response = await client.fetch(request);
      if (response.status !== 401 || (await manager.isCurrent(client, init.signal))) return response;
      // The next run rejected the token of the last one, so the request had no effect, whatever its method.
      again = retry !== false && !(init.body instanceof ReadableStream);
    } catch (error) {
      // Only a TypeError means a network error: https://fetch.spec.whatwg.org/#fetch-method, step 12.
      if (!(error instanceof TypeError) || init.signal?.aborted) throw error;
      if (!(await manager.isGone(client, init.signal))) throw error;
      cause = error;
      again = mayRepeat(request, init.body, retry);
    }
    if (attempt === MAX_ATTEMPTS || !again) {
      throw new Interrupted(manager.sidecar, manager.status?.failure ?? null, cause);
    }
  }
}

function mayRepeat(
  { method, headers }: Request,
  body: RequestInit["body"],
  retry: boolean | undefined,
): boolean {
  if (body instanceof ReadableStream) return false;
  return retry ?? (IDEMPOTENT.has(method) || headers.has("idempotency-key"));
}
