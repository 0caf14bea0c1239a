import type { Access } from "./bindings.js";

/** What a private sidecar hears with every WebSocket: docs/protocol.md, rule 5. It never answers with the second. */
const SUBPROTOCOL = "pillion";
const BEARER = "pillion.bearer.";

/**
 * The way to one run of a sidecar, with the right to go it. The next run is another connection, also where it has the same
 * port. The token is in a private field, so that whatever shows or stores a connection shows and stores none.
 */
export class Connection {
  readonly url: string;
  /** Aborted as soon as this run is known to be on its way down, gone or replaced. */
  readonly gone: AbortSignal;
  readonly #token: string | null;

  constructor({ url, token }: Access, gone: AbortSignal) {
    this.url = url;
    this.gone = gone;
    this.#token = token;
  }

  /** Whether the sidecar answers nobody without its token. */
  get isPrivate(): boolean {
    return this.#token !== null;
  }

  /** Whether this is still what the app gives to whoever asks. */
  isOf({ url, token }: Access): boolean {
    return this.url === url && this.#token === token;
  }

  /**
   * A request that this run answers. Throws a `TypeError` for what is wrong with it.
   *
   * Where a redirect leads to another origin, `fetch` leaves `Authorization` behind:
   * https://fetch.spec.whatwg.org/#http-redirect-fetch.
   */
  request(path: string, init?: RequestInit): Request {
    const request = new Request(this.#address(path), init);
    if (this.#token === null) return request;
    if (request.headers.has("authorization")) {
      throw new TypeError("Authorization carries the sidecar's token: send what is yours in another header");
    }
    request.headers.set("authorization", `Bearer ${this.#token}`);
    return request;
  }

  /** A WebSocket to this run, which is being opened. Throws as its constructor does. */
  webSocket(path: string, protocols: string | string[] = []): WebSocket {
    const own = typeof protocols === "string" ? [protocols] : protocols;
    // A browser sends no header of ours with a WebSocket, and a URL would end up in logs.
    const key = this.#token === null ? [] : [SUBPROTOCOL, BEARER + this.#token];
    return new WebSocket(this.#address(path).replace(/^http/, "ws"), [...key, ...own]);
  }

  /** The address of `path`, which must not be able to name another host, as `@example.org` would. */
  #address(path: string): string {
    if (path.startsWith("/")) return this.url + path;
    throw new TypeError(`a path begins with a slash, and ${JSON.stringify(path)} does not`);
  }
}
