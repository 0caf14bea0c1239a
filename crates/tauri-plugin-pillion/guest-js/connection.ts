import type { Access } from "./bindings.js";
import { fetchThroughApp, ORIGIN } from "./through.js";

/** What a private sidecar hears with every WebSocket: docs/protocol.md, rule 5. It never answers with the second. */
const SUBPROTOCOL = "pillion";
const BEARER = "pillion.bearer.";

/** Of the URL of a sidecar on a socket. */
const SOCKET = "pillion:";

/**
 * The way to one run of a sidecar, with the right to go it. The next run is another connection, also where it has the same
 * port. The token is in a private field, so that whatever shows or stores a connection shows and stores none.
 */
export class Connection {
  readonly url: string;
  /** Aborted as soon as this run is known to be on its way down, gone or replaced. */
  readonly gone: AbortSignal;
  readonly #sidecar: string;
  readonly #token: string | null;

  constructor(sidecar: string, { url, token }: Access, gone: AbortSignal) {
    this.url = url;
    this.gone = gone;
    this.#sidecar = sidecar;
    this.#token = token;
  }

  /** Whether this page has to show the sidecar's token. Where requests go by way of the app, the app does. */
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

  /** `fetch`, by way of the app where the sidecar is on a socket. */
  fetch(request: Request): Promise<Response> {
    return this.#isSocket ? fetchThroughApp(this.#sidecar, request) : fetch(request);
  }

  /** A WebSocket to this run, which is being opened. Throws as its constructor does, and where the sidecar is on a socket. */
  webSocket(path: string, protocols: string | string[] = []): WebSocket {
    if (this.#isSocket) {
      throw new DOMException(`${this.#sidecar} has no port, which a WebSocket needs`, "NotSupportedError");
    }
    const own = typeof protocols === "string" ? [protocols] : protocols;
    // A browser sends no header of ours with a WebSocket, and a URL would end up in logs.
    const key = this.#token === null ? [] : [SUBPROTOCOL, BEARER + this.#token];
    return new WebSocket(this.#address(path).replace(/^http/, "ws"), [...key, ...own]);
  }

  get #isSocket(): boolean {
    return this.url.startsWith(SOCKET);
  }

  /** The address of `path`, which must not be able to name another host, as `@example.org` would. */
  #address(path: string): string {
    if (path.startsWith("/")) return (this.#isSocket ? ORIGIN : this.url) + path;
    throw new TypeError(`a path begins with a slash, and ${JSON.stringify(path)} does not`);
  }
}
