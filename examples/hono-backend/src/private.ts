/** Rule 5 of docs/protocol.md: who is answered. Works without a token, too, and then asks for the Host and Origin alone. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";

/** Where Tauri's own pages come from: macOS and Linux; Windows and Android; the same with `useHttpsScheme`. */
const TAURI_ORIGINS = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/** Goes before every other middleware. Takes the token out of `env`, so that no program started from here inherits it. */
export function gate(env: NodeJS.ProcessEnv): MiddlewareHandler<{ Bindings: HttpBindings }> {
  const allowed = env.PILLION_ALLOWED_ORIGINS?.split(",").map((entry) => entry.trim()) ?? TAURI_ORIGINS;
  const token = env.PILLION_TOKEN || undefined;
  delete env.PILLION_TOKEN;

  return async (context, next) => {
    const { incoming } = context.env;
    const own = ownNames(incoming);

    // DNS rebinding brings requests here under a name that is not ours.
    const hosts = values(incoming, "host");
    if (hosts.length !== 1) return context.text("a request has exactly one Host\n", 400);
    const names = [...hosts, ...authority(incoming)].map((name) => name.toLowerCase());
    if (!names.every((name) => own.includes(name))) {
      return context.text("this Host is not served here\n", 403);
    }

    const [origin, ...others] = values(incoming, "origin");
    if (others.length > 0 || (origin !== undefined && !allowed.includes(origin))) {
      return context.text("pages of this Origin are not answered\n", 403);
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
    return context.text("this server answers requests with the token of its run\n", 401, {
      "WWW-Authenticate": "Bearer",
    });
  };
}

/** What this server is called, in `Host` and, first of all, in the proof. A Unix domain socket has no port. */
function ownNames({ socket: { localPort } }: IncomingMessage): string[] {
  return localPort === undefined ? ["localhost"] : [`127.0.0.1:${localPort}`, `localhost:${localPort}`];
}

/** Every value of a header: `IncomingMessage.headers` drops or joins what comes twice. */
function values({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
}

/** The authority of a target in absolute form (RFC 9112, section 3.2.2), which counts for more than the Host. */
function authority({ url = "" }: IncomingMessage): string[] {
  return url.startsWith("/") || url === "*" ? [] : [/^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? ""];
}

function isBearer(values: string[], token: string): boolean {
  const given = Buffer.from(/^Bearer +(\S+)$/i.exec(values[0] ?? "")?.[1] ?? "");
  const wanted = Buffer.from(token);
  return values.length === 1 && given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** Yes: what a page of the app may send is for the routes to say. */
function preflight({ req, res, body }: Context): Response {
  res.headers.set("Access-Control-Max-Age", "7200");
  for (const what of ["Method", "Headers", "Private-Network"]) {
    const asked = req.header(`Access-Control-Request-${what}`);
    if (asked) res.headers.set(`Access-Control-Allow-${what === "Method" ? "Methods" : what}`, asked);
  }
  return body(null, 204);
}
