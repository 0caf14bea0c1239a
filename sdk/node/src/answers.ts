/** The answers that the SDK gives without a handler, and the headers that it adds to those of handlers. */
import { type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { type Decision, values } from "./admission.js";

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** How many seconds a browser may cache the answer to a preflight. Chromium caps it at two hours, Safari at ten minutes. */
const PREFLIGHT_AGE = "7200";

/** The answer to a request that no handler sees. */
export function answerTo(
  decision: Exclude<Decision, { kind: "serve" }>,
  rawHeaders: readonly string[],
): Answer {
  switch (decision.kind) {
    case "alive": {
      const proof = decision.proof === undefined ? {} : { "Pillion-Proof": decision.proof };
      const answer = json('{"status":"ok"}');
      return { ...answer, headers: { ...answer.headers, ...proof } };
    }
    case "refuse": {
      const challenge = decision.status === 401 ? { "WWW-Authenticate": "Bearer" } : {};
      const headers = { "Content-Type": "text/plain; charset=utf-8", ...challenge };
      return { status: decision.status, headers, body: decision.text };
    }
    case "preflight":
      return { status: 204, headers: preflightHeaders(rawHeaders), body: "" };
  }
}

/** An answer of `/health`. */
export function json(body: string): Answer {
  return { status: 200, headers: { "Content-Type": "application/json", "Cache-Control": "no-store" }, body };
}

/**
 * The positive answer to a preflight of the app (https://fetch.spec.whatwg.org/#cors-preflight-fetch). It allows every requested
 * method and header, because the routes decide which requests of the app they accept.
 *
 * Older Chromium versions ask with a header of the preflight whether a public page may reach a private network; newer ones ask
 * the user instead (https://developer.chrome.com/blog/local-network-access).
 */
function preflightHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = { "Access-Control-Max-Age": PREFLIGHT_AGE };
  const asked = (what: string) => values(rawHeaders, `access-control-request-${what}`)[0];
  const [method, names] = [asked("method"), asked("headers")];
  if (method) headers["Access-Control-Allow-Methods"] = method;
  if (names) headers["Access-Control-Allow-Headers"] = names;
  if (asked("private-network") === "true") headers["Access-Control-Allow-Private-Network"] = "true";
  return headers;
}

/** Lets the page of `origin` read the response. `Vary` tells caches that the response depends on the origin. */
export function allowReading(response: ServerResponse, origin: string | undefined): void {
  const vary = String(response.getHeader("Vary") ?? "");
  if (!/(^|,)\s*(origin|\*)\s*(,|$)/i.test(vary)) {
    response.setHeader("Vary", vary === "" ? "Origin" : `${vary}, Origin`);
  }
  if (origin !== undefined) response.setHeader("Access-Control-Allow-Origin", origin);
}

/** The whole answer as bytes, for a connection that Node has handed over, such as one that asks for an upgrade. */
export function asBytes({ status, headers, body }: Answer, isHead: boolean): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  // A 204 has no length (RFC 9110, section 8.6).
  if (status !== 204) lines.push(`Content-Length: ${Buffer.byteLength(body)}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}Connection: close\r\n\r\n${isHead ? "" : body}`;
}

type HeaderList = readonly (readonly [string, string | readonly string[]])[];

/** Calls `change` once all headers of the response are known, right before they leave. */
export function beforeHead(response: ServerResponse, change: () => void): void {
  const writeHead = response.writeHead;
  const replaced = (status: number, ...rest: unknown[]): ServerResponse => {
    response.writeHead = writeHead;
    const reason = typeof rest[0] === "string" ? rest[0] : undefined;
    setAll(response, (reason === undefined ? (rest[0] ?? rest[1]) : rest[1]) as Headers | undefined);
    change();
    return reason === undefined
      ? writeHead.call(response, status)
      : (writeHead as (status: number, reason: string) => ServerResponse).call(response, status, reason);
  };
  response.writeHead = replaced as typeof writeHead;
}

type Headers = OutgoingHttpHeaders | readonly string[] | HeaderList;

/** Sets the headers in each form that `writeHead` takes: an object, a flat list, a list of pairs. They replace earlier ones. */
function setAll(response: ServerResponse, headers: Headers | undefined): void {
  if (headers === undefined || headers === null) return;
  if (!Array.isArray(headers)) {
    for (const [name, value] of Object.entries(headers as OutgoingHttpHeaders)) {
      if (value !== undefined) response.setHeader(name, value);
    }
    return;
  }
  const pairs: [string, string | string[]][] = [];
  if (headers.every(Array.isArray)) pairs.push(...(headers as unknown as typeof pairs));
  else for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([headers[at], headers[at + 1]]);
  for (const [name] of pairs) response.removeHeader(name);
  for (const [name, value] of pairs) response.appendHeader(name, value);
}
