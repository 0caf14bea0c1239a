import { fstatSync } from "node:fs";
import type { Server } from "node:http";
import { constants } from "node:os";

/**
 * Stops the server on a signal or at the end of stdin, and exits with 0 after the requests in flight.
 *
 * Cuts the open connections after `graceMs` milliseconds. A second signal, number n, exits with 128 + n at once.
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
      console.error(`stopped: the grace period of ${graceMs} ms is over, and open connections were cut`);
      server.closeAllConnections();
    }, graceMs);
  };

  // `close` ends idle connections, but would leave a busy one open after its response.
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

  // Only a pipe or a socket is a lifeline: a terminal ends for other reasons, and /dev/null ends at once.
  const stdin = fstatSync(0);
  if (stdin.isFIFO() || stdin.isSocket()) {
    process.stdin.on("close", () => stop("the host closed stdin")).resume();
  }
}
