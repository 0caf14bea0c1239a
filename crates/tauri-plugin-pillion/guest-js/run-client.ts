import type { Access } from "./bindings.js";
import { ipcFetch, ORIGIN, rejectUnsupported } from "./ipc-fetch.js";
import { requestWithUpload } from "./ipc-upload.js";
import { IpcWebSocket, type Socket } from "./ipc-websocket.js";

/**
 * The subprotocols that carry the token of a private sidecar in a WebSocket handshake: docs/protocol.md, rule 5. The sidecar
 * never selects the second.
 */
const SUBPROTOCOL = "pillion";
const BEARER = "pillion.bearer.";

/** The URL scheme of a sidecar without a port. */
const LOCAL_SCHEME = "pillion:";

/**
 * Sends requests to one run of a sidecar, with its URL and token. The next run has another client, even if it has the same port.
 * The token is in a private field, so that code which prints or stores this object does not print or store the token.
 */
export class RunClient {
  readonly url: string;
  /** Aborted as soon as this run is known to be stopping, gone or replaced. */
  readonly gone: AbortSignal;
  readonly #sidecar: string;
  readonly #token: string | null;

  constructor(sidecar: string, { url, token }: Access, gone: AbortSignal) {
    this.url = url;
    this.gone = gone;
    this.#sidecar = sidecar;
    this.#token = token;
  }

  /** Whether this page sends the sidecar's token. If the app proxies the requests, the app sends it. */
  get isPrivate(): boolean {
    return this.#token !== null;
  }

  /** Whether this run has no port. */
  get isLocal(): boolean {
    return this.url.startsWith(LOCAL_SCHEME);
  }

  /** Whether this client has the same URL and token as `access`. */
  matches({ url, token }: Access): boolean {
    return this.url === url && this.#token === token;
  }

  /**
   * A request to this run, with its token. Throws a `TypeError` if the path or the options are invalid.
   *
   * `fetch` removes `Authorization` on a redirect to another origin: https://fetch.spec.whatwg.org/#http-redirect-fetch.
   */
  request(path: string, init?: RequestInit): Request {
    const url = this.#resolve(path);
    const request = this.isLocal ? requestWithUpload(url, init) : new Request(url, init);
    if (this.isLocal) rejectUnsupported(request);
    if (this.#token === null) return request;
    if (request.headers.has("authorization")) {
      throw new TypeError(
        "Authorization carries the sidecar's token: send your own credentials in another header",
      );
    }
    request.headers.set("authorization", `Bearer ${this.#token}`);
    return request;
  }

  /** `fetch`, or `ipcFetch` for a sidecar without a port. `signal` is that with which the request was made. */
  fetch(request: Request, signal: AbortSignal | null | undefined): Promise<Response> {
    return this.isLocal ? ipcFetch(this.#sidecar, request, signal ?? null) : fetch(request);
  }

  /**
   * Opens a WebSocket to this run, through the app if the sidecar has no port. Throws as its constructor does. `onRefused` is called if
   * the app does not let this page open it.
   */
  webSocket(path: string, protocols: string | string[], onRefused: (error: Error) => void): Socket {
    const own = typeof protocols === "string" ? [protocols] : protocols;
    if (this.isLocal) {
      const socket = new IpcWebSocket(this.#sidecar, new URL(this.#resolve(path)), own);
      socket.onrefused = onRefused;
      return socket;
    }
    // A browser cannot send a custom header with a WebSocket, and a token in the URL would appear in logs.
    const bearer = this.#token === null ? [] : [SUBPROTOCOL, BEARER + this.#token];
    return new WebSocket(this.#resolve(path).replace(/^http/, "ws"), [...bearer, ...own]);
  }

  /** The absolute URL of `path`. The path must begin with a slash: `@example.org` would name another host. */
  #resolve(path: string): string {
    if (path.startsWith("/")) return (this.isLocal ? ORIGIN : this.url) + path;
    throw new TypeError(`a path begins with a slash, and ${JSON.stringify(path)} does not`);
  }
}
