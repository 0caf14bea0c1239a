/** The state of the app's connection to its backend, as a pure function of the events so far, without I/O and clock. */
import type { BackendError, Health, Problem } from "./api";
import type { Exit, Failure, FailureKind, Status } from "./tauri";

/** What a connection that is being made waits for. */
export type ConnectingStep = "watching" | "waiting" | "starting" | "checking" | "stopping";

/** Why there is no connection, as it is shown. */
export interface FailureDetails {
  kind: FailureKind | Problem["kind"];
  message: string;
  exit: Exit | null;
  /** The last lines of the backend's output, oldest first. */
  tail: string[];
}

/** The response to a health check, and its time of arrival in the milliseconds of `performance.now()`. */
export interface HealthResponse {
  health: Health;
  at: number;
}

export type ConnectionState =
  /** `reason` says what prevents the connection, if anything does. */
  | { state: "connecting"; step: ConnectingStep; reason: string | null }
  /**
   * The supervisor has reached the backend, which is ready. `response` is the last one that the page received from this run; null while
   * the page's first request is under way.
   */
  | { state: "connected"; response: HealthResponse | null }
  /** The backend runs, but its liveness probes fail. `response` is the last one that the page received from this run. */
  | { state: "unhealthy"; reason: string | null; response: HealthResponse | null }
  /** The backend runs on demand, and nothing uses it: it is neither up nor failed. */
  | { state: "idle"; reason: string | null }
  /** The backend ended unexpectedly, and is being restarted. */
  | { state: "restarting"; reason: string | null; restarts: number }
  | { state: "error"; failure: FailureDetails };

/** All that the app shows of its backend. */
export interface BackendView {
  connection: ConnectionState;
  /** The last status; null before the first. */
  status: Status | null;
}

export type BackendEvent =
  | { type: "status"; status: Status }
  /** A health check succeeded; `checked` is the status at its start. */
  | { type: "healthy"; checked: Status; response: HealthResponse }
  /** A health check failed; `checked` is the status at its start. */
  | { type: "unhealthy"; checked: Status; error: BackendError }
  /** The status cannot be watched, or a restart failed. */
  | { type: "failed"; error: Error; failure: Failure | null }
  | { type: "retry" };

export const initial: BackendView = { connection: connecting("watching"), status: null };

export function reduce(view: BackendView, event: BackendEvent): BackendView {
  const { connection, status } = view;
  switch (event.type) {
    case "status":
      return { connection: follow(view, event.status), status: event.status };
    case "healthy":
      // The response counts only if it is from the run that is ready now: a restart may have happened during the check.
      return isReady(status, event.checked)
        ? { connection: { state: "connected", response: event.response }, status }
        : view;
    case "unhealthy":
      // If the backend is not ready any more, its status says more than a failed request.
      return isReady(status, event.checked) ? { connection: checkFailed(event.error), status } : view;
    case "failed":
      return { connection: { state: "error", failure: detailsOfError(event.error, event.failure) }, status };
    case "retry":
      return connection.state === "error" ? { connection: connecting("starting"), status } : view;
  }
}

/** Whether the backend is ready according to its status, and the page has no response from it yet. */
export function awaitsHealth({ connection, status }: BackendView): boolean {
  if (status?.state !== "ready") return false;
  return connection.state === "connecting" || (connection.state === "connected" && !connection.response);
}

function follow({ connection, status: before }: BackendView, status: Status): ConnectionState {
  const { state, reason, restarts } = status;
  const sameRun = isSameRun(before, status);
  const response = sameRun && "response" in connection ? connection.response : null;
  // Also while an unused backend is being stopped.
  if (status.readiness === "idle") return { state: "idle", reason };
  switch (state) {
    case "idle":
      return { state: "idle", reason };
    case "waiting":
    case "starting":
      // The status names the cause of a restart only while the backend is down. It is shown until the backend is back.
      return connection.state === "restarting" && !status.failure
        ? { ...connection, restarts }
        : connecting(state, status.failure?.message ?? null);
    case "stopping":
      return connecting("stopping", status.failure?.message ?? null);
    case "backingOff":
      return { state: "restarting", reason: status.failure?.message ?? reason, restarts };
    case "ready":
      // The supervisor has reached this run. If a request of the page has failed since, only one that succeeds connects.
      return sameRun && (connection.state === "error" || connection.state === "connecting")
        ? connecting("checking")
        : { state: "connected", response };
    case "unhealthy":
      return { state: "unhealthy", reason, response };
    case "stopped":
    case "failed":
      return { state: "error", failure: ended(status) };
  }
}

/** Whether both are of one run. The port does not tell: a restarted backend keeps its port if it can. */
function isSameRun(before: Status | null, now: Status): boolean {
  return before?.readiness === "up" && before.url === now.url && before.pid === now.pid;
}

function isReady(now: Status | null, checked: Status): boolean {
  return now?.state === "ready" && isSameRun(checked, now);
}

function connecting(step: ConnectingStep, reason: string | null = null): ConnectionState {
  return { state: "connecting", step, reason };
}

function checkFailed(error: BackendError): ConnectionState {
  const { problem } = error;
  const failure = problem.kind === "unavailable" ? problem.failure : null;
  const details = failure
    ? detailsOf(failure)
    : { kind: problem.kind, message: error.message, exit: null, tail: [] };
  return { state: "error", failure: details };
}

function detailsOfError(error: Error, failure: Failure | null): FailureDetails {
  return failure ? detailsOf(failure) : { kind: "unavailable", message: error.message, exit: null, tail: [] };
}

function detailsOf({ kind, message, detail }: Failure): FailureDetails {
  return { kind, message, exit: detail.exit, tail: detail.tail };
}

function ended({ failure, reason, exit }: Status): FailureDetails {
  if (failure) return detailsOf(failure);
  return { kind: "stopped", message: reason ?? "The backend is not running.", exit, tail: [] };
}
