/** Rules 1 and 6 of docs/protocol.md: opens the listener and announces it. */
import { writeSync } from "node:fs";
import type { Server } from "node:http";
import { type Server as Acceptor, createServer } from "node:net";
import type { ListenAddr } from "./admission.js";
import { closeOnExec } from "./close-on-exec.js";
import type { HostEnvironment } from "./environment.js";
import { forbidden, isBlockedByBrowsers, lookupCommand } from "./ports.js";

/** The first inherited descriptor: see `sd_listen_fds(3)`. */
const FIRST_DESCRIPTOR = 3;
/** How many connections may wait. Connections made between two runs wait in the queue of an inherited listener. */
const BACKLOG = 1024;

/** An open listener. */
export interface Listener {
  readonly addr: ListenAddr;
  /** Accepts no further connection. */
  close(): void;
}

/**
 * Listens on the listener that the host passed; without one, on 127.0.0.1, on the requested port or on one that the system
 * chooses. Resolves once the server accepts connections.
 */
export function listen(server: Server, { inherited, port }: HostEnvironment): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const acceptor = acceptorOf(server);
    const fail = (error: NodeJS.ErrnoException) => reject(explain(error, inherited, port));
    acceptor.once("error", fail);
    const listening = () => {
      acceptor.off("error", fail);
      if (inherited) closeOnExec(FIRST_DESCRIPTOR);
      const bound = acceptor.address();
      const done = (addr: ListenAddr) => resolve({ addr, close: () => void acceptor.close() });
      // Node does not know the address of a Unix domain socket that another process bound; under Bun it is an empty object.
      if (bound === null || typeof bound === "string" || bound.address === undefined) return done("local");
      if (bound.address === "127.0.0.1") return done(bound.port);
      acceptor.close();
      const { address } = bound;
      reject(
        new Error(`the listener of LISTEN_FDS is bound to ${address}: a sidecar listens on 127.0.0.1 only`),
      );
    };
    try {
      // The literal address: without one, Node listens on every interface.
      // Node has no way to ask whether the descriptor listens already; it would let a bound one listen.
      if (inherited) acceptor.listen({ fd: FIRST_DESCRIPTOR }, BACKLOG, listening);
      else acceptor.listen(port, "127.0.0.1", BACKLOG, listening);
    } catch (error) {
      fail(error as NodeJS.ErrnoException);
    }
  });
}

/**
 * What accepts the connections: the server itself. Under Bun 1.4, an HTTP server that listens itself ignores the descriptor of a
 * listener, does not tell of a client that has gone, answers `OPTIONS *` with 400, and gives `ws` no socket to answer on. There a
 * `node:net` server accepts the connections, and the HTTP server parses them as Node does.
 */
function acceptorOf(server: Server): Acceptor {
  if (process.versions.bun === undefined) return server;
  const options = { allowHalfOpen: true, noDelay: true };
  return createServer(options, (socket) => void server.emit("connection", socket));
}

function explain(error: NodeJS.ErrnoException, inherited: boolean, port: number): Error {
  const { code, message } = error;
  if (inherited) return new Error(`cannot use the listener from the host (LISTEN_FDS): ${message}`);
  if (code === "EADDRINUSE") {
    return new Error(
      `port ${port} of 127.0.0.1 is taken, perhaps by an earlier run: \`${lookupCommand(port)}\` shows the process that ` +
        "holds it; set PORT to another port, or unset it to let the system choose",
    );
  }
  if (code === "EACCES") return new Error(forbidden(port, process.platform));
  return new Error(`cannot listen on 127.0.0.1: ${message}`);
}

/** Writes the announcement to stdout. Call it once the server accepts connections and can be stopped. */
export async function announce(addr: ListenAddr): Promise<void> {
  const line = Buffer.from(
    addr === "local" ? `BACKEND_SOCKET:${FIRST_DESCRIPTOR}\n` : `BACKEND_PORT:${addr}\n`,
  );
  // Directly to the descriptor: a stream may keep the line in memory.
  for (let written = 0; written < line.length; ) {
    try {
      written += writeSync(1, line, written);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "EAGAIN") throw new Error(`cannot write the announcement to stdout: ${message}`);
      // A full pipe that another holder has made non-blocking.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  if (addr === "local") return log("listening on the socket of the host, without a port");
  log(`listening on http://127.0.0.1:${addr}`);
  if (isBlockedByBrowsers(addr)) {
    log(`browsers and webviews refuse to call port ${addr}: choose another port`);
  }
}

/** Writes a line for people to stderr. Does nothing if the host's death has closed it. */
export function log(text: string): void {
  try {
    writeSync(2, `${text}\n`);
  } catch {
    // The sidecar must finish what is in flight even if nothing reads its words.
  }
}
