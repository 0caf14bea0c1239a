import { Interrupted } from "./error.js";
import type { Line } from "./line.js";

export interface RequestOptions extends RequestInit {
  /**
   * Whether the request is sent again when the backend went away before it answered. By default it is where that
   * cannot do harm: for GET, HEAD, OPTIONS, PUT and DELETE, which are idempotent by RFC 9110, section 9.2.2, and for
   * whatever carries an `Idempotency-Key`. A body that is a stream is never sent twice.
   */
  retry?: boolean;

  /** How long to wait for a backend whenever there is none, in milliseconds: a minute by default. */
  patience?: number;
}

const PATIENCE = 60_000;

/** How often one request is sent. More would help a request that kills its backend to kill it for good. */
const ATTEMPTS = 3;

/** https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2; TRACE is not open to pages. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

/** `fetch` on whatever run of the sidecar is there: see `Sidecar.fetch`. */
export async function send(line: Line, path: string, options: RequestOptions = {}): Promise<Response> {
  const { retry, patience = PATIENCE, ...init } = options;
  for (let attempt = 1; ; attempt++) {
    const connection = await line.connection(patience, init.signal);
    // What is wrong with the request itself is said here, before it is sent.
    const request = connection.request(path, init);
    let cause: unknown;
    let again: boolean;
    try {
      const response = await connection.fetch(request);
      if (response.status !== 401 || (await line.isCurrent(connection, init.signal))) return response;
      // The next run did not let the last one's token in, so nothing was done, whatever the method.
      again = retry !== false && !(init.body instanceof ReadableStream);
    } catch (error) {
      // Nothing else means that the network failed: https://fetch.spec.whatwg.org/#fetch-method, step 12.
      if (!(error instanceof TypeError) || init.signal?.aborted) throw error;
      if (!(await line.isGone(connection, init.signal))) throw error;
      cause = error;
      again = mayRepeat(request, init.body, retry);
    }
    if (attempt === ATTEMPTS || !again) {
      throw new Interrupted(line.sidecar, line.status?.failure ?? null, cause);
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
