/** Rule 5 of docs/protocol.md: decides from the head of a request alone which requests are served. Without I/O. */
import { createHmac, timingSafeEqual } from "node:crypto";

/** The path of the health request, which needs no token. */
export const HEALTH_PATH = "/health";
/** The subprotocol that the server chooses if the handler of a WebSocket chooses none. */
export const SUBPROTOCOL = "pillion";
const BEARER_SUBPROTOCOL = "pillion.bearer.";

/** The head of a request, as it arrived. */
export interface Head {
  readonly method: string;
  /** The target of the request line. */
  readonly target: string;
  /** Names and values in turn, as `IncomingMessage.rawHeaders`. */
  readonly rawHeaders: readonly string[];
}

/** A listen address: a port of 127.0.0.1, or the Unix domain socket that the host passed. */
export type ListenAddr = number | "local";

/** What the server does with a request. */
export type Decision =
  | { readonly kind: "serve"; readonly origin: string | undefined; readonly path: string }
  /** A page that may call asks by a preflight: no handler answers it. */
  | { readonly kind: "preflight"; readonly origin: string }
  /** A health request without the token: the answer says only that the sidecar is alive. */
  | { readonly kind: "alive"; readonly origin: string | undefined; readonly proof: string | undefined }
  | {
      readonly kind: "refuse";
      readonly status: 400 | 401 | 403;
      readonly text: string;
      /** Set if the origin may read the refusal. */
      readonly origin: string | undefined;
    };

/** The rules of a server at `addr` that serves pages of `origins`. Without a token, every request with the right `Host` and no
 * foreign `Origin` is served. */
export class Admission {
  readonly #names: readonly string[];
  readonly #origins: readonly string[];
  readonly #token: string | undefined;
  readonly #authority: string;

  constructor(addr: ListenAddr, origins: readonly string[], token: string | undefined) {
    this.#names = names(addr);
    this.#origins = origins;
    this.#token = token;
    this.#authority = addr === "local" ? "localhost" : `127.0.0.1:${addr}`;
  }

  /** Whether requests need a token. */
  get isPrivate(): boolean {
    return this.#token !== undefined;
  }

  /** Decides on one request. The first check that fails decides. */
  decide({ method, target, rawHeaders }: Head): Decision {
    const hosts = values(rawHeaders, "host");
    if (hosts.length !== 1) {
      return refuse(400, "a request to this server needs exactly one Host header\n");
    }
    const { scheme, authority, path } = parseTarget(method, target);
    const named = authority === undefined ? hosts : [...hosts, authority];
    // With DNS rebinding, the request names another host.
    if ((scheme !== undefined && scheme !== "http") || !named.every((name) => this.#isOurs(name))) {
      return refuse(
        403,
        "the request names another server: this server is 127.0.0.1 or localhost, with its port if it has one\n",
      );
    }
    const [origin, ...others] = values(rawHeaders, "origin");
    if (others.length > 0 || (origin !== undefined && !this.#origins.includes(origin))) {
      return refuse(
        403,
        "this server does not serve pages of that origin: PILLION_ALLOWED_ORIGINS lists the allowed origins\n",
      );
    }
    const asksMethod = () => values(rawHeaders, "access-control-request-method").length > 0;
    if (origin !== undefined && method === "OPTIONS" && asksMethod()) {
      return { kind: "preflight", origin };
    }
    if (this.#token === undefined || this.#carriesToken(rawHeaders, this.#token)) {
      return { kind: "serve", origin, path };
    }
    if (path === HEALTH_PATH && (method === "GET" || method === "HEAD")) {
      return { kind: "alive", origin, proof: this.#prove(rawHeaders, this.#token) };
    }
    return refuse(401, "this server needs the token of its run as a bearer token\n", origin);
  }

  /** Host names are case-insensitive (RFC 9110, section 4.2.3). */
  #isOurs(name: string): boolean {
    return this.#names.includes(name.toLowerCase());
  }

  #carriesToken(rawHeaders: readonly string[], token: string): boolean {
    const authorization = values(rawHeaders, "authorization");
    if (authorization.length === 1) {
      const presented = /^bearer +(.*)$/is.exec(authorization[0] ?? "")?.[1];
      if (presented !== undefined && isEqual(presented, token)) return true;
    }
    const [upgrade, ...upgrades] = values(rawHeaders, "upgrade");
    const offered = values(rawHeaders, "sec-websocket-protocol");
    if (upgrades.length > 0 || upgrade?.toLowerCase() !== "websocket" || offered.length !== 1) return false;
    return elements(offered[0] ?? "").some(
      (offer) =>
        offer.startsWith(BEARER_SUBPROTOCOL) && isEqual(offer.slice(BEARER_SUBPROTOCOL.length), token),
    );
  }

  /** The proof that this server holds the token, if the request has a valid challenge. */
  #prove(rawHeaders: readonly string[], token: string): string | undefined {
    const [challenge, second] = values(rawHeaders, "pillion-challenge");
    if (challenge === undefined || second !== undefined || !/^[0-9a-f]{32}$/.test(challenge))
      return undefined;
    return createHmac("sha256", token).update(`pillion-health ${this.#authority} ${challenge}`).digest("hex");
  }
}

function refuse(status: 400 | 401 | 403, text: string, origin?: string): Decision {
  return { kind: "refuse", status, text, origin };
}

/** The accepted values of `Host`. A client may omit the default port (RFC 9110, section 4.2.1). */
function names(addr: ListenAddr): string[] {
  if (addr === "local") return ["localhost"];
  const hosts = ["127.0.0.1", "localhost"];
  return [...hosts.map((host) => `${host}:${addr}`), ...(addr === 80 ? hosts : [])];
}

interface Target {
  /** In lower case, if the target is in absolute form. */
  readonly scheme: string | undefined;
  readonly authority: string | undefined;
  /** Neither decoded nor normalised, without the query. */
  readonly path: string;
}

/** Parses the target of a request line (RFC 9112, section 3.2). */
function parseTarget(method: string, target: string): Target {
  const path = withoutQuery(target);
  if (method === "CONNECT") return { scheme: undefined, authority: target, path: "" };
  if (target.startsWith("/") || target === "*") return { scheme: undefined, authority: undefined, path };
  const absolute = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/is.exec(target);
  // Anything else names no server, so it is not this one.
  if (absolute === null) return { scheme: undefined, authority: "", path: "" };
  const [, scheme = "", authority = "", rest = ""] = absolute;
  return {
    scheme: scheme.toLowerCase(),
    authority,
    path: withoutQuery(rest.startsWith("/") ? rest : `/${rest}`),
  };
}

function withoutQuery(target: string): string {
  const end = target.search(/[?#]/);
  return end < 0 ? target : target.slice(0, end);
}

/** The target in origin form (RFC 9112, section 3.2.1), which handlers expect. */
export function originForm(target: string): string {
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(.*)$/is.exec(target);
  if (target.startsWith("/") || absolute === null) return target;
  const rest = absolute[1] ?? "";
  return rest.startsWith("/") ? rest : `/${rest}`;
}

/** Every value of a header. `IncomingMessage.headers` drops or joins repeated headers. */
export function values(rawHeaders: readonly string[], name: string): string[] {
  const found: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name) found.push(rawHeaders[at + 1] ?? "");
  }
  return found;
}

/** The elements of a comma-separated list (RFC 9110, section 5.6.1). */
function elements(list: string): string[] {
  const trimmed = list.split(",").map((element) => element.trim());
  return trimmed.filter((element) => element !== "");
}

/** Takes the same time for every guess of the right length. */
function isEqual(presented: string, token: string): boolean {
  const [given, wanted] = [Buffer.from(presented, "latin1"), Buffer.from(token, "latin1")];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** The headers that a handler may see, and whether the answer has to choose the subprotocol `pillion` if the handler chooses
 * none. */
export interface Hidden {
  readonly rawHeaders: string[];
  readonly choose: boolean;
}

/**
 * Removes the token from the headers of a request, so that no handler and no middleware can log it.
 *
 * Drops every subprotocol that contains the prefix of the token, even in the middle, where the page forgot a comma.
 */
export function hideToken(rawHeaders: readonly string[], isPrivate: boolean): Hidden {
  const kept: string[] = [];
  const offered = values(rawHeaders, "sec-websocket-protocol");
  const own = elements(offered.join(",")).filter(
    (offer) => offer !== SUBPROTOCOL && !offer.includes(BEARER_SUBPROTOCOL),
  );
  let offers = false;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [name = "", value = ""] = [rawHeaders[at], rawHeaders[at + 1]];
    switch (name.toLowerCase()) {
      // Credentials for a proxy (RFC 9110, section 11.7.2), which no handler needs.
      case "proxy-authorization":
        break;
      case "authorization":
        if (!isPrivate) kept.push(name, value);
        break;
      case "sec-websocket-protocol":
        if (!offers && own.length > 0) kept.push(name, own.join(", "));
        offers = true;
        break;
      default:
        kept.push(name, value);
    }
  }
  return { rawHeaders: kept, choose: elements(offered.join(",")).includes(SUBPROTOCOL) };
}
