/** What the app knows of its backend, as a pure function of what it was told: no I/O and no clock in here. */
import type { BackendError, Health, Problem } from "./api";
import type { Exit, Failure, FailureKind, Status } from "./tauri";

/** What a connection that is not there yet waits for. */
export type Step = "asking" | "waiting" | "starting" | "checking" | "stopping";

/** Why there is no connection, ready to be put into words. */
export interface Trouble {
  kind: FailureKind | Problem["kind"];
  message: string;
  exit: Exit | null;
  /** The last lines that the backend wrote, oldest first. */
  tail: string[];
}

/** An answer to a health check, and when it came, in the milliseconds of `performance.now()`. */
export interface Answer {
  health: Health;
  at: number;
}

export type Link =
  /** `reason` is what stands in the way, where that is more than that it takes its time. */
  | { state: "connecting"; step: Step; reason: string | null }
  | { state: "connected"; answer: Answer }
  /** There, and slow to answer the supervisor; `answer` is the last one that the page had of this run. */
  | { state: "unhealthy"; reason: string | null; answer: Answer | null }
  /** Down unasked, and coming back by itself. */
  | { state: "restarting"; reason: string | null; restarts: number }
  | { state: "error"; trouble: Trouble };

export interface Connection {
  link: Link;
  /** The last word of the status stream; null before its first. */
  status: Status | null;
}

export type Event =
  | { type: "status"; status: Status }
  /** Of a health check, with the status that it was sent on. */
  | { type: "healthy"; asked: Status; answer: Answer }
  | { type: "unanswered"; asked: Status; error: BackendError }
  | { type: "lost"; error: Error; failure: Failure | null }
  | { type: "retry" };

export const initial: Connection = { link: connecting("asking"), status: null };

export function reduce(connection: Connection, event: Event): Connection {
  const { link, status } = connection;
  switch (event.type) {
    case "status":
      return { link: follow(connection, event.status), status: event.status };
    case "healthy":
      // An answer counts only if it is of the run that is ready now; it may have been under way during a restart.
      return isUp(status, event.asked)
        ? { link: { state: "connected", answer: event.answer }, status }
        : connection;
    case "unanswered":
      // Where the stream speaks of a backend that is not ready, it has already said more than a failed request can.
      return isUp(status, event.asked) ? { link: refused(event.error), status } : connection;
    case "lost":
      return { link: { state: "error", trouble: lost(event.error, event.failure) }, status };
    case "retry":
      return link.state === "error" ? { link: connecting("starting"), status } : connection;
  }
}

/** True when the backend is ready, as far as we were told, and only a health check is wanting. */
export function awaitsHealth({ link, status }: Connection): boolean {
  return status?.state === "ready" && (link.state === "connecting" || link.state === "restarting");
}

function follow({ link, status: before }: Connection, status: Status): Link {
  const { state, reason, restarts } = status;
  const known = isSameRun(before, status) && "answer" in link ? link.answer : null;
  switch (state) {
    case "waiting":
    case "starting":
      // Why it went down is told only while it is down, and is of interest until it is back or something else is wrong.
      return link.state === "restarting" && !status.failure
        ? { ...link, restarts }
        : connecting(state, status.failure?.message ?? null);
    case "stopping":
      return connecting("stopping", status.failure?.message ?? null);
    case "backingOff":
      return { state: "restarting", reason: status.failure?.message ?? reason, restarts };
    case "ready":
      if (known) return { state: "connected", answer: known };
      return link.state === "restarting" ? link : connecting("checking");
    case "unhealthy":
      return { state: "unhealthy", reason, answer: known };
    case "stopped":
    case "failed":
      return { state: "error", trouble: ended(status) };
  }
}

/** The same port does not make it the same process: a restarted backend keeps its port where it can. */
function isSameRun(before: Status | null, now: Status): boolean {
  return before !== null && before.url !== null && before.url === now.url && before.pid === now.pid;
}

function isUp(now: Status | null, asked: Status): boolean {
  return now?.state === "ready" && isSameRun(asked, now);
}

function connecting(step: Step, reason: string | null = null): Link {
  return { state: "connecting", step, reason };
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
