import { expect, test } from "vitest";
import { BackendError } from "../src/lib/api";
import {
  awaitsHealth,
  type BackendEvent,
  type BackendView,
  type ConnectionState,
  initial,
  reduce,
} from "../src/lib/connection-state";
import type { Status } from "../src/lib/tauri";
import { failure, health, status } from "./fixtures";

const statusEvent = (...args: Parameters<typeof status>) =>
  ({ type: "status", status: status(...args) }) as const;
const ready = (port = 4242, pid = 7) => statusEvent("ready", { port, pid });
const healthy = ({ status: checked }: { status: Status }) =>
  ({ type: "healthy", checked, response: { health: health(), at: 100 } }) as const;
const unreachable = new BackendError({ kind: "network" }, "The backend could not be reached.");
const checkFailed = ({ status: checked }: { status: Status }) =>
  ({ type: "unhealthy", checked, error: unreachable }) as const;

const up = ready();
const connected = [up, healthy(up)] as const;
const failed = statusEvent("failed", { failure });

function after(...events: BackendEvent[]): BackendView {
  return events.reduce(reduce, initial);
}

/** The connection after each of these events, which follow an established connection. */
function connections(...events: BackendEvent[]): ConnectionState[] {
  return events.map((_, index) => after(...connected, ...events.slice(0, index + 1)).connection);
}

test("a ready status connects, and the page still checks the health itself", () => {
  const view = after(up);
  expect(view.connection).toEqual({ state: "connected", response: null });
  expect(awaitsHealth(view)).toBe(true);
  expect(after(statusEvent("starting", { port: 4242, pid: 7 }), up)).toEqual(view);
});

test("a failed health check is an error, and no status of that run connects again", () => {
  const failing = after(up, checkFailed(up), up);
  expect(failing.connection).toEqual({ state: "connecting", step: "checking", reason: null });
  expect(awaitsHealth(failing)).toBe(true);
  expect(reduce(failing, up).connection.state).toBe("connecting");
  expect(reduce(failing, checkFailed(up)).connection.state).toBe("error");
  expect(reduce(failing, healthy(up)).connection.state).toBe("connected");
  expect(reduce(failing, ready(4242, 8)).connection.state).toBe("connected");
});

test("a healthy response is kept", () => {
  const view = after(...connected);
  expect(view.connection).toEqual({ state: "connected", response: { health: health(), at: 100 } });
  expect(awaitsHealth(view)).toBe(false);
  expect(awaitsHealth(after(failed))).toBe(false);
});

test("after a crash, the connection is restarting with its reason until the backend is back", () => {
  const back = ready(5151, 8);
  const steps = connections(
    statusEvent("stopping", { failure }),
    statusEvent("backingOff", { failure, restarts: 1 }),
    statusEvent("waiting", { restarts: 1 }),
    statusEvent("starting", { restarts: 1 }),
    back,
    healthy(back),
  );
  const restarting = { state: "restarting", reason: failure.message, restarts: 1 };
  expect(steps).toEqual([
    { state: "connecting", step: "stopping", reason: failure.message },
    restarting,
    restarting,
    restarting,
    { state: "connected", response: null },
    { state: "connected", response: { health: health(), at: 100 } },
  ]);
  expect(awaitsHealth(after(...connected, statusEvent("backingOff", { failure }), back))).toBe(true);
});

test("an idle backend is neither connected nor an error, even while it is being stopped", () => {
  const reason =
    "exited with code 0 after it was asked to stop, because nothing used it; the next use starts it";
  const steps = connections(
    statusEvent("stopping", { readiness: "idle", reason }),
    statusEvent("idle", { reason }),
    statusEvent("starting"),
  );
  const idle = { state: "idle", reason };
  expect(steps).toEqual([idle, idle, { state: "connecting", step: "starting", reason: null }]);
  expect(awaitsHealth(after(...connected, statusEvent("idle")))).toBe(false);
});

test("a backend that reaches its restart limit is an error", () => {
  const { connection } = after(...connected, statusEvent("backingOff", { failure, restarts: 4 }), failed);
  expect(connection).toMatchObject({ state: "error", failure: { kind: "crashed" } });
});

test("an unhealthy backend keeps its last response, and connects again with it", () => {
  const reason = "GET /health does not answer well: an answer is overdue";
  const response = { health: health(), at: 100 };
  const slow = statusEvent("unhealthy", { port: 4242, pid: 7, reason });
  expect(connections(slow, ready())).toEqual([
    { state: "unhealthy", reason, response },
    { state: "connected", response },
  ]);
  // A page that opens now has no response yet: it checks the backend once it is ready again.
  expect(after(slow).connection).toEqual({ state: "unhealthy", reason, response: null });
  expect(awaitsHealth(after(slow))).toBe(false);
  expect(awaitsHealth(after(slow, ready()))).toBe(true);
});

test("a failed backend is an error with its exit and output", () => {
  expect(after(...connected, failed).connection).toEqual({
    state: "error",
    failure: {
      kind: "crashed",
      message: failure.message,
      exit: { code: null, signal: 9 },
      tail: failure.detail.tail,
    },
  });
});

test("a stopped backend is an error that says so", () => {
  const exit = { code: 0, signal: null };
  expect(after(statusEvent("stopped", { exit })).connection).toEqual({
    state: "error",
    failure: { kind: "stopped", message: "The backend is not running.", exit, tail: [] },
  });
  const stopped = after(statusEvent("stopped", { reason: "stopped as asked" }));
  expect(stopped.connection).toMatchObject({ failure: { message: "stopped as asked" } });
});

test("a backend that waits for a failed dependency says so", () => {
  const { connection } = after(
    statusEvent("waiting", { failure: { ...failure, kind: "dependency", message: "no database" } }),
  );
  expect(connection).toEqual({ state: "connecting", step: "waiting", reason: "no database" });
});

test("a response of an earlier run changes nothing", () => {
  const dead = after(up, failed);
  expect(reduce(dead, healthy(up))).toBe(dead);
  expect(reduce(dead, checkFailed(up))).toBe(dead);
  for (const moved of [after(up, ready(5151, 8)), after(up, ready(4242, 8))]) {
    expect(reduce(moved, healthy(up))).toBe(moved);
    expect(reduce(moved, checkFailed(up))).toBe(moved);
  }
  const slow = after(...connected, statusEvent("unhealthy", { port: 4242, pid: 7 }));
  expect(reduce(slow, checkFailed(up))).toBe(slow);
});

test("another process on the same port is checked again", () => {
  expect(connections(ready(4242, 8))).toEqual([{ state: "connected", response: null }]);
  expect(connections(ready(4242, 7))).toEqual([after(...connected).connection]);
});

test("a failed health check is an error, and the next successful one ends it", () => {
  const failing = after(up, checkFailed(up));
  expect(failing.connection).toMatchObject({ state: "error", failure: { kind: "network", tail: [] } });
  expect(reduce(failing, healthy(up)).connection.state).toBe("connected");
});

test("a health check that rejects with a failure shows that failure", () => {
  const error = new BackendError({ kind: "unavailable", failure }, failure.message);
  const { connection } = after(up, { type: "unhealthy", checked: up.status, error });
  expect(connection).toMatchObject({
    state: "error",
    failure: { kind: "crashed", tail: failure.detail.tail },
  });
});

test("a status that cannot be watched is an error with its message", () => {
  const { connection } = after({ type: "failed", error: new Error("not allowed"), failure: null });
  expect(connection).toMatchObject({
    state: "error",
    failure: { kind: "unavailable", message: "not allowed" },
  });
});

test("retry leaves only the error state", () => {
  expect(after(failed, { type: "retry" }).connection).toMatchObject({
    state: "connecting",
    step: "starting",
  });
  const view = after(...connected);
  expect(reduce(view, { type: "retry" })).toBe(view);
});

test("a requested restart is shown step by step", () => {
  const steps = connections(
    statusEvent("stopping"),
    statusEvent("waiting"),
    statusEvent("starting"),
    ready(5151, 8),
  );
  const seen = steps.map((connection) => ("step" in connection ? connection.step : connection.state));
  expect(seen).toEqual(["stopping", "waiting", "starting", "connected"]);
});
