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
    const request = new Request(address(connection.url, path), init);
    try {
      return await fetch(request);
    } catch (cause) {
      // Nothing else means that the network failed: https://fetch.spec.whatwg.org/#fetch-method, step 12.
      if (!(cause instanceof TypeError) || init.signal?.aborted) throw cause;
      if (!(await line.isGone(connection, init.signal))) throw cause;
      if (attempt < ATTEMPTS && mayRepeat(request, init.body, retry)) continue;
      throw new Interrupted(line.sidecar, line.status?.failure ?? null, cause);
    }
  }
}

/** The address of `path`, which must not be able to name another host, as `@example.org` would. */
export function address(url: string, path: string): string {
  if (path.startsWith("/")) return url + path;
  throw new TypeError(`a path begins with a slash, and ${JSON.stringify(path)} does not`);
}

function mayRepeat(
  { method, headers }: Request,
  body: RequestInit["body"],
  retry: boolean | undefined,
): boolean {
  if (body instanceof ReadableStream) return false;
  return retry ?? (IDEMPOTENT.has(method) || headers.has("idempotency-key"));
}
