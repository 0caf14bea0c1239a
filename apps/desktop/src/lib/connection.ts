/** What the app knows of its backend, as a pure function of what it was told: no I/O and no clock in here. */
import type { BackendError, Health, Problem } from "./api";
import type { Exit, Failure, FailureKind, Status } from "./tauri";

/** What a connection that is not there yet waits for. */
export type Step = "asking" | "starting" | "checking" | "stopping";

/** Why there is no connection, ready to be put into words. */
export interface Trouble {
  kind: FailureKind | Problem["kind"];
  message: string;
  exit: Exit | null;
  /** The last lines that the backend wrote, oldest first. */
  tail: string[];
}

export type Link =
  | { state: "connecting"; step: Step }
  /** `health` is the last answer, and `at` when it came, in the milliseconds of `performance.now()`. */
  | { state: "connected"; port: number; health: Health; at: number }
  | { state: "error"; trouble: Trouble };

export interface Connection {
  link: Link;
  /** The last word of the status stream; null before its first. */
  status: Status | null;
}

export type Event =
  | { type: "status"; status: Status }
  | { type: "healthy"; port: number; health: Health; at: number }
  | { type: "unhealthy"; port: number | null; error: BackendError }
  | { type: "lost"; error: Error; failure: Failure | null }
  | { type: "retry" };

export const initial: Connection = { link: { state: "connecting", step: "asking" }, status: null };

export function reduce(connection: Connection, event: Event): Connection {
  const { link, status } = connection;
  switch (event.type) {
    case "status":
      return { link: follow(connection, event.status), status: event.status };
    case "healthy": {
      const { port, health, at } = event;
      return isCurrent(status, port)
        ? { link: { state: "connected", port, health, at }, status }
        : connection;
    }
    case "unhealthy":
      // Where the stream speaks of a backend that is not ready, it has already said more than a failed request can.
      return isCurrent(status, event.port) ? { link: refused(event.error), status } : connection;
    case "lost":
      return { link: { state: "error", trouble: lost(event.error, event.failure) }, status };
    case "retry":
      return link.state === "error" ? { link: connecting("starting"), status } : connection;
  }
}

/** True when the backend is ready, as far as we were told, and only a health check is wanting. */
export function awaitsHealth({ link, status }: Connection): boolean {
  return status?.state === "ready" && link.state === "connecting";
}

function follow({ link, status: before }: Connection, status: Status): Link {
  switch (status.state) {
    case "starting":
      return connecting("starting");
    case "stopping":
      return connecting("stopping");
    case "ready":
      // The request that got through first is not to be asked again because the stream confirms it.
      return link.state === "connected" && link.port === status.port && isSameRun(before, status)
        ? link
        : connecting("checking");
    case "stopped":
    case "failed":
      return { state: "error", trouble: ended(status) };
  }
}

/** The same port does not make it the same process: a restarted backend may have been given its old port. */
function isSameRun(before: Status | null, now: Status): boolean {
  return before === null || (before.state === "ready" && before.pid === now.pid);
}

/** An answer counts only if it comes from the port that is ready now; one may still be under way from an earlier run. */
function isCurrent(status: Status | null, port: number | null): boolean {
  if (status === null) return true;
  return status.state === "ready" && (port === null || status.port === null || status.port === port);
}

function connecting(step: Step): Link {
  return { state: "connecting", step };
}

function refused(error: BackendError): Link {
  const { problem } = error;
  const failure = problem.kind === "unavailable" ? problem.failure : null;
  const trouble = failure
    ? failed(failure)
    : { kind: problem.kind, message: error.message, exit: null, tail: [] };
  return { state: "error", trouble };
}

function lost(error: Error, failure: Failure | null): Trouble {
  return failure ? failed(failure) : { kind: "unavailable", message: error.message, exit: null, tail: [] };
}

function failed({ kind, message, detail }: Failure): Trouble {
  return { kind, message, exit: detail.exit, tail: detail.tail };
}

function ended({ failure, reason, exit }: Status): Trouble {
  if (failure) return failed(failure);
  return { kind: "stopped", message: reason ?? "The backend is not running.", exit, tail: [] };
}
