import { createServer, type Server } from "node:http";
import { parse } from "node:path";
import { Admission } from "./admission.js";
import { Connections } from "./connections.js";
import { hostEnvironment, PROTOCOL } from "./environment.js";
import { type FetchHandler, respond } from "./fetch.js";
import { type GateState, guard } from "./gate.js";
import { announce, listen, log } from "./listen.js";
import { stopping, watchForStop } from "./stop.js";

/** The settings of a sidecar. All are optional. */
export interface Options {
  /** The name of the app, for `/health`; the name of the script by default. */
  readonly app?: string;
  /** The version of the sidecar, for `/health`: the host and its page show it. */
  readonly version?: string;
  /**
   * How long requests in flight may take after the request to stop, in milliseconds. Default: 4500, half a second less than the
   * grace period of the host (5 s), which then kills the process.
   */
  readonly graceMs?: number;
  /** Called after the last request and before the exit, for example to close a database. It shares `graceMs` with the requests. */
  readonly onStop?: () => unknown;
}

/** A sidecar that has announced itself. */
export interface Serving {
  /** The port of 127.0.0.1, or undefined on a Unix domain socket. */
  readonly port: number | undefined;
  /** Requests the stop, as SIGTERM does. The process exits with 0. */
  stop(): void;
}

let started = false;

/**
 * Serves a fetch-style handler, such as `app.fetch` of Hono, as a sidecar: see docs/protocol.md.
 *
 * Requests reach the handler only after admission, and without the token. Request and response bodies stream. `request.signal`
 * aborts when the client has gone; `stopping` aborts when the sidecar stops. A handler that throws answers 500.
 *
 * Resolves after the announcement. Rejects if the sidecar cannot start: leave the error uncaught, so that Node prints the reason
 * and exits with 1. Call it once per process.
 */
export function serve(
  handler: FetchHandler | { readonly fetch: FetchHandler },
  options: Options = {},
): Promise<Serving> {
  const fetch: FetchHandler =
    typeof handler === "function" ? handler : (request, node) => handler.fetch(request, node);
  // The app may upload for longer than the five minutes that Node allows.
  const server = createServer({
    keepAliveTimeout: 30_000,
    headersTimeout: 30_000,
    requestTimeout: 0,
    maxHeaderSize: 65_536,
  });
  server.on("request", (incoming, outgoing) => void respond(fetch, incoming, outgoing, false));
  server.on("checkContinue", (incoming, outgoing) => void respond(fetch, incoming, outgoing, true));
  return attach(server, options);
}

/**
 * Makes a `node:http` server a sidecar, for Express, Fastify, `ws` and others: see docs/protocol.md. The server must not listen
 * yet; do not call its `listen` yourself.
 *
 * No listener of `request` or `upgrade` sees a request before admission, nor the token. Resolves and rejects as `serve` does.
 */
export async function attach(server: Server, options: Options = {}): Promise<Serving> {
  if (started) throw new Error("this process is a sidecar already: call serve or attach once");
  if (server.listening)
    throw new Error("the server listens already: attach opens the listener, do not call listen");
  started = true;
  const host = hostEnvironment();
  const state: GateState = {
    admission: undefined,
    stopping: false,
    health: () =>
      JSON.stringify({
        status: "ok",
        app: options.app ?? scriptName(),
        timestamp: Date.now(),
        uptime: process.uptime(),
        version: options.version,
        pillion_protocol: PROTOCOL,
        instance: host.instance,
      }),
  };
  stopping.addEventListener("abort", () => {
    state.stopping = true;
  });
  const connections = new Connections();
  guard(server, connections, state);
  const { addr, close } = await listen(server, host);
  state.admission = new Admission(addr, host.origins, host.token);
  if (host.token === undefined) {
    log("PILLION_TOKEN is not set: every program that reaches this server may call");
  }
  // Watch before the announcement: the host may request the stop right after it.
  const request = watchForStop({
    close,
    connections,
    graceMs: options.graceMs ?? 4500,
    onStop: options.onStop,
  });
  await announce(addr);
  return { port: addr === "local" ? undefined : addr, stop: () => request("stop was called") };
}

/** In a program of `pillion package` its own name. */
function scriptName(): string {
  return parse(process.argv[1] ?? process.execPath).name || "sidecar";
}
