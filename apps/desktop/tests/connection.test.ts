import { expect, test } from "vitest";
import { BackendError } from "../src/lib/api";
import { awaitsHealth, type Connection, type Event, initial, type Link, reduce } from "../src/lib/connection";
import type { Status } from "../src/lib/tauri";
import { failure, health, status } from "./fixtures";

const told = (...args: Parameters<typeof status>) => ({ type: "status", status: status(...args) }) as const;
const ready = (port = 4242, pid = 7) => told("ready", { port, pid });
const healthy = ({ status: asked }: { status: Status }) =>
  ({ type: "healthy", asked, answer: { health: health(), at: 100 } }) as const;
const refused = new BackendError({ kind: "network" }, "The backend could not be reached.");
const unanswered = ({ status: asked }: { status: Status }) =>
  ({ type: "unanswered", asked, error: refused }) as const;

const up = ready();
const connected = [up, healthy(up)] as const;
const failed = told("failed", { failure });

function after(...events: Event[]): Connection {
  return events.reduce(reduce, initial);
}

/** The link after each of the events that come after it was connected. */
function links(...events: Event[]): Link[] {
  return events.map((_, index) => after(...connected, ...events.slice(0, index + 1)).link);
}

test("ready alone does not connect: the page has not reached the backend yet", () => {
  const connection = after(up);
  expect(connection.link).toEqual({ state: "connecting", step: "checking", reason: null });
  expect(awaitsHealth(connection)).toBe(true);
});

test("a healthy answer connects", () => {
  const connection = after(...connected);
  expect(connection.link).toEqual({ state: "connected", answer: { health: health(), at: 100 } });
  expect(awaitsHealth(connection)).toBe(false);
  expect(awaitsHealth(after(failed))).toBe(false);
});

test("a crash that is mended is a restart with its reason, from beginning to end", () => {
  const back = ready(5151, 8);
  const steps = links(
    told("stopping", { failure }),
    told("backingOff", { failure, restarts: 1 }),
    told("waiting", { restarts: 1 }),
    told("starting", { restarts: 1 }),
    back,
    healthy(back),
  );
  const restarting = { state: "restarting", reason: failure.message, restarts: 1 };
  expect(steps).toEqual([
    { state: "connecting", step: "stopping", reason: failure.message },
    restarting,
    restarting,
    restarting,
    restarting,
    { state: "connected", answer: { health: health(), at: 100 } },
  ]);
  expect(awaitsHealth(after(...connected, told("backingOff", { failure }), back))).toBe(true);
});

test("a backend that crashes again and again ends as an error", () => {
  const { link } = after(...connected, told("backingOff", { failure, restarts: 4 }), failed);
  expect(link).toMatchObject({ state: "error", trouble: { kind: "crashed" } });
});

test("an unhealthy backend is still there: what was known of it stays, and is taken up again", () => {
  const reason = "GET /health does not answer well: an answer is overdue";
  const answer = { health: health(), at: 100 };
  const slow = told("unhealthy", { port: 4242, pid: 7, reason });
  expect(links(slow, ready())).toEqual([
    { state: "unhealthy", reason, answer },
    { state: "connected", answer },
  ]);
  // The page may have been opened only now; then the next good word is checked.
  expect(after(slow).link).toEqual({ state: "unhealthy", reason, answer: null });
  expect(awaitsHealth(after(slow))).toBe(false);
  expect(awaitsHealth(after(slow, ready()))).toBe(true);
});

test("a backend that is gone turns a connection into an error with its exit and output", () => {
  expect(after(...connected, failed).link).toEqual({
    state: "error",
    trouble: {
      kind: "crashed",
      message: failure.message,
      exit: { code: null, signal: 9 },
      tail: failure.detail.tail,
    },
  });
});

test("a backend that was stopped is an error that says so", () => {
  const exit = { code: 0, signal: null };
  expect(after(told("stopped", { exit })).link).toEqual({
    state: "error",
    trouble: { kind: "stopped", message: "The backend is not running.", exit, tail: [] },
  });
  const asked = after(told("stopped", { reason: "stopped as asked" }));
  expect(asked.link).toMatchObject({ trouble: { message: "stopped as asked" } });
});

test("a backend that waits for something that will not come says so", () => {
  const { link } = after(
    told("waiting", { failure: { ...failure, kind: "dependency", message: "no database" } }),
  );
  expect(link).toEqual({ state: "connecting", step: "waiting", reason: "no database" });
});

test("an answer that a death or a restart has overtaken changes nothing", () => {
  const dead = after(up, failed);
  expect(reduce(dead, healthy(up))).toBe(dead);
  expect(reduce(dead, unanswered(up))).toBe(dead);
  for (const moved of [after(up, ready(5151, 8)), after(up, ready(4242, 8))]) {
    expect(reduce(moved, healthy(up))).toBe(moved);
    expect(reduce(moved, unanswered(up))).toBe(moved);
  }
  const slow = after(...connected, told("unhealthy", { port: 4242, pid: 7 }));
  expect(reduce(slow, unanswered(up))).toBe(slow);
});

test("another process on the same port has to prove itself anew", () => {
  expect(links(ready(4242, 8))[0]?.state).toBe("connecting");
  expect(links(ready(4242, 7))[0]?.state).toBe("connected");
});

test("a failed health check is an error, and the next good one ends it", () => {
  const unwell = after(up, unanswered(up));
  expect(unwell.link).toMatchObject({ state: "error", trouble: { kind: "network", tail: [] } });
  expect(reduce(unwell, healthy(up)).link.state).toBe("connected");
});

test("a call that was refused with a failure shows that failure", () => {
  const error = new BackendError({ kind: "unavailable", failure }, failure.message);
  const { link } = after(up, { type: "unanswered", asked: up.status, error });
  expect(link).toMatchObject({ state: "error", trouble: { kind: "crashed", tail: failure.detail.tail } });
});

test("a lost shell is an error in its words", () => {
  const { link } = after({ type: "lost", error: new Error("not allowed"), failure: null });
  expect(link).toMatchObject({ state: "error", trouble: { kind: "unavailable", message: "not allowed" } });
});

test("retry leaves an error, and only an error", () => {
  expect(after(failed, { type: "retry" }).link).toMatchObject({ state: "connecting", step: "starting" });
  const connection = after(...connected);
  expect(reduce(connection, { type: "retry" })).toBe(connection);
});

test("a restart that somebody asked for is seen step by step", () => {
  const steps = links(told("stopping"), told("waiting"), told("starting"), ready(5151, 8));
  expect(steps.map((link) => "step" in link && link.step)).toEqual([
    "stopping",
    "waiting",
    "starting",
    "checking",
  ]);
});
