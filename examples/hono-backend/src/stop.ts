import { fstatSync } from "node:fs";
import type { Server } from "node:http";
import { constants } from "node:os";

/**
 * Ends the process with 0 once a signal or the end of stdin asks for it and the requests in flight are answered.
 *
 * After `graceMs` milliseconds the connections still open are cut. A second signal, number n, exits with 128 + n.
 */
export function stopGracefully(server: Server, graceMs: number): void {
  let stopping = false;
  let signalled = false;

  const stop = (cause: string) => {
    if (stopping) return;
    stopping = true;
    console.error(`stopping: ${cause}`);
    server.close(() => process.exit(0));
    setTimeout(() => {
      console.error(`stopped: ${graceMs} ms are over, open connections were cut`);
      server.closeAllConnections();
    }, graceMs);
  };

  // `close` ends the connections that are idle, and would leave a busy one open behind its response.
  server.on("request", (_request, response) => {
    response.on("close", () => {
      if (stopping) server.closeIdleConnections();
    });
  });

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (signalled) process.exit(128 + constants.signals[signal]);
      signalled = true;
      stop(signal);
    });
  }

  // Only a pipe or a socket can be a lifeline: a terminal ends for other reasons, and /dev/null at once.
  const stdin = fstatSync(0);
  if (stdin.isFIFO() || stdin.isSocket()) {
    process.stdin.on("close", () => stop("the host closed stdin")).resume();
  }
}
