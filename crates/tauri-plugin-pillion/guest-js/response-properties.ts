/** What the constructor of `Response` does not take: https://fetch.spec.whatwg.org/#response-class. */

interface Properties {
  url: string;
  redirected: boolean;
  type?: ResponseType | undefined;
  /** That of the request, which also ends the body. */
  signal?: AbortSignal | null | undefined;
}

const READERS = ["arrayBuffer", "blob", "bytes", "formData", "json", "text"] as const;

/**
 * Gives a response, and its clones, these properties. Its methods that read the body reject with the signal's reason, as those of `fetch`:
 * WebKit rejects with a `TypeError` for whatever error of a stream that a page has made.
 */
export function withProperties(response: Response, properties: Properties): Response {
  const { url, redirected, type = response.type, signal } = properties;
  const methods: Record<string, () => unknown> = {
    clone: () => withProperties(Response.prototype.clone.call(response), properties),
  };
  for (const name of signal ? READERS : []) {
    // Not each webview has all of them.
    const read: (() => Promise<unknown>) | undefined = response[name];
    if (!read) continue;
    methods[name] = () =>
      read.call(response).catch((error) => {
        throw signal?.aborted ? signal.reason : error;
      });
  }
  const values = Object.entries({ url, redirected, type, ...methods });
  for (const [name, value] of values) Object.defineProperty(response, name, { value, configurable: true });
  return response;
}
