/** Rule 3 of docs/protocol.md: stops the server on a signal or at the end of stdin. */
import { fstatSync, type Stats } from "node:fs";
import { constants } from "node:os";
import type { Connections } from "./connections.js";
import { log } from "./listen.js";

const stop = new AbortController();

/** Aborted when the stop is requested. End streams, long polls and WebSockets then: they delay the stop until the grace period is
 * over, or are cut. */
export const stopping: AbortSignal = stop.signal;

/** How a sidecar stops. */
export interface StopPlan {
  /** Closes the listener. */
  readonly close: () => void;
  readonly connections: Connections;
  /** How long requests in flight may take after the request to stop, in milliseconds. */
  readonly graceMs: number;
  /** Called after the last request. */
  readonly onStop: (() => unknown) | undefined;
}

/**
 * Watches for signals and for the end of stdin. Then closes the listener and the idle connections at once, waits for the requests
 * in flight within `graceMs`, calls `onStop`, and exits with 0. A second signal, number n, exits with 128 + n at once, unless stdin
 * has ended: the signals are then those of a host, which gives the process its time, and they come twice through a wrapper that passes
 * them on.
 *
 * Returns the function that requests the stop.
 */
export function watchForStop(plan: StopPlan): (cause: string) => void {
  const request = (cause: string) => {
    if (stopping.aborted) return;
    log(`stopping: ${cause}`);
    stop.abort();
    void drain(plan);
  };
  let signalled = false;
  let hostAsked = false;
  const signals: NodeJS.Signals[] =
    process.platform === "win32" ? ["SIGINT", "SIGTERM", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  for (const signal of signals) {
    process.on(signal, () => {
      if (signalled && !hostAsked) process.exit(128 + constants.signals[signal]);
      signalled = true;
      request(signal);
    });
  }
  if (isLifeline()) {
    const ended = () => {
      hostAsked = true;
      request("the host closed stdin");
    };
    process.stdin.on("end", ended).on("close", ended).on("error", ended).resume();
  }
  return request;
}

/** Only a pipe or a socket is a lifeline: a terminal ends for other reasons, and /dev/null ends at once. */
function isLifeline(): boolean {
  try {
    return isPipe(fstatSync(0));
  } catch {
    return false;
  }
}

/** The bits of a mode that are the type of the file, and their value for a pipe: inode(7). `fs.constants.S_IFIFO` is undefined in older
 * Node for Windows, such as 16 (https://github.com/nodejs/node/issues/41590). */
const FILE_TYPE = 0o170000;
const PIPE = 0o010000;

/** `isFIFO` answers false on Windows for every file, also for a pipe. */
export function isPipe(stats: Pick<Stats, "mode" | "isSocket">): boolean {
  return (stats.mode & FILE_TYPE) === PIPE || stats.isSocket();
}

async function drain({ close, connections, graceMs, onStop }: StopPlan): Promise<void> {
  setTimeout(() => {
    const cut = connections.cut();
    log(`stopped: the grace period of ${graceMs} ms is over, and ${cut} open connections were cut`);
    process.exit(0);
  }, graceMs);
  close();
  await connections.drain();
  try {
    await onStop?.();
  } catch (error) {
    log(`onStop failed: ${error instanceof Error ? error.stack : error}`);
  }
  log("stopped");
  process.exit(0);
}
