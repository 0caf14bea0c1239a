/** Rule 5 of docs/protocol.md: decides which requests are served. Without a token it checks Host and Origin only. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";

/** The origins of Tauri's own pages: macOS and Linux; Windows and Android; the latter with `useHttpsScheme`. */
const TAURI_ORIGINS = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/** Use it before every other middleware. Removes the token from `env`, so that child processes do not inherit it. */
export function admission(env: NodeJS.ProcessEnv): MiddlewareHandler<{ Bindings: HttpBindings }> {
  const allowed = env.PILLION_ALLOWED_ORIGINS?.split(",").map((entry) => entry.trim()) ?? TAURI_ORIGINS;
  const token = env.PILLION_TOKEN || undefined;
  delete env.PILLION_TOKEN;

  return async (context, next) => {
    const { incoming } = context.env;
    const own = ownNames(incoming);

    // With DNS rebinding, the request names another host.
    const hosts = values(incoming, "host");
    if (hosts.length !== 1)
      return context.text("a request to this server needs exactly one Host header\n", 400);
    const names = [...hosts, ...authority(incoming)].map((name) => name.toLowerCase());
    if (!names.every((name) => own.includes(name))) {
      return context.text("the request names another server\n", 403);
    }

    const [origin, ...others] = values(incoming, "origin");
    if (others.length > 0 || (origin !== undefined && !allowed.includes(origin))) {
      return context.text("this server does not serve pages of that origin\n", 403);
    }
    context.res.headers.append("Vary", "Origin");
    if (origin !== undefined) {
      context.res.headers.set("Access-Control-Allow-Origin", origin);
      if (context.req.method === "OPTIONS" && context.req.header("Access-Control-Request-Method")) {
        return preflight(context);
      }
    }

    if (token === undefined || isBearer(values(incoming, "authorization"), token)) return next();
    if (["GET", "HEAD"].includes(context.req.method) && incoming.url === "/health") {
      const challenge = context.req.header("Pillion-Challenge") ?? "";
      if (/^[0-9a-f]{32}$/.test(challenge)) {
        const proof = createHmac("sha256", token).update(`pillion-health ${own[0]} ${challenge}`);
        context.header("Pillion-Proof", proof.digest("hex"));
      }
      return context.json({ status: "ok" });
    }
    return context.text("this server needs the token of its run as a bearer token\n", 401, {
      "WWW-Authenticate": "Bearer",
    });
  };
}

/** The accepted values of `Host`. The first one is part of the proof. A Unix domain socket has no port. */
function ownNames({ socket: { localPort } }: IncomingMessage): string[] {
  return localPort === undefined ? ["localhost"] : [`127.0.0.1:${localPort}`, `localhost:${localPort}`];
}

/** Every value of a header. `IncomingMessage.headers` drops or joins repeated headers. */
function values({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
}

/** The authority of a target in absolute form (RFC 9112, section 3.2.2), which takes precedence over Host. */
function authority({ url = "" }: IncomingMessage): string[] {
  return url.startsWith("/") || url === "*" ? [] : [/^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? ""];
}

function isBearer(values: string[], token: string): boolean {
  const given = Buffer.from(/^Bearer +(\S+)$/i.exec(values[0] ?? "")?.[1] ?? "");
  const wanted = Buffer.from(token);
  return values.length === 1 && given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** The positive answer to a preflight. It allows every method and header, because the routes decide what they accept. */
function preflight({ req, res, body }: Context): Response {
  res.headers.set("Access-Control-Max-Age", "7200");
  for (const what of ["Method", "Headers", "Private-Network"]) {
    const asked = req.header(`Access-Control-Request-${what}`);
    if (asked) res.headers.set(`Access-Control-Allow-${what === "Method" ? "Methods" : what}`, asked);
  }
  return body(null, 204);
}
