import { expect, test } from "vitest";
import { BackendError } from "../src/lib/api";
import { awaitsHealth, type Connection, type Event, initial, reduce } from "../src/lib/connection";
import { failure, health, status } from "./fixtures";

const ready = (port = 4242, pid = 7) => ({ type: "status", status: status("ready", { port, pid }) }) as const;
const healthy = (port = 4242) => ({ type: "healthy", port, health: health(), at: 100 }) as const;
const refused = new BackendError({ kind: "network" }, "The backend could not be reached.");
const unhealthy = (port: number | null = 4242) => ({ type: "unhealthy", port, error: refused }) as const;
const failed = { type: "status", status: status("failed", { failure }) } as const;

function after(...events: Event[]): Connection {
  return events.reduce(reduce, initial);
}

test("a healthy answer connects, whether it comes before or after the stream's word", () => {
  const link = { state: "connected", port: 4242, health: health(), at: 100 };
  expect(after(healthy()).link).toEqual(link);
  expect(after(ready(), healthy()).link).toEqual(link);
  expect(after(healthy(), ready()).link).toEqual(link);
});

test("ready alone does not connect: the page has not reached the backend yet", () => {
  const connection = after(ready());
  expect(connection.link).toEqual({ state: "connecting", step: "checking" });
  expect(awaitsHealth(connection)).toBe(true);
  expect(awaitsHealth(after(ready(), healthy()))).toBe(false);
  expect(awaitsHealth(after(failed))).toBe(false);
});

test("a backend that dies turns a connection into an error with its exit and output", () => {
  expect(after(ready(), healthy(), failed).link).toEqual({
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
  const { link } = after({ type: "status", status: status("stopped", { exit }) });
  expect(link).toEqual({
    state: "error",
    trouble: { kind: "stopped", message: "The backend is not running.", exit, tail: [] },
  });
  const asked = after({ type: "status", status: status("stopped", { reason: "stopped as asked" }) });
  expect(asked.link).toMatchObject({ trouble: { message: "stopped as asked" } });
});

test("an answer that a death or a restart has overtaken changes nothing", () => {
  const dead = after(ready(), failed);
  expect(reduce(dead, healthy())).toBe(dead);
  expect(reduce(dead, unhealthy())).toBe(dead);
  expect(reduce(dead, unhealthy(null))).toBe(dead);
  const moved = after(ready(4242), ready(5151, 8));
  expect(reduce(moved, healthy(4242))).toBe(moved);
  expect(reduce(moved, unhealthy(4242))).toBe(moved);
});

test("another process on the same port has to prove itself anew", () => {
  expect(after(ready(4242, 7), healthy(), ready(4242, 8)).link.state).toBe("connecting");
  expect(after(ready(4242, 7), healthy(), ready(4242, 7)).link.state).toBe("connected");
});

test("a failed health check is an error, and the next good one ends it", () => {
  const unwell = after(ready(), healthy(), unhealthy());
  expect(unwell.link).toMatchObject({ state: "error", trouble: { kind: "network", tail: [] } });
  expect(reduce(unwell, healthy()).link.state).toBe("connected");
});

test("a port that was refused with a failure shows that failure", () => {
  const error = new BackendError({ kind: "unavailable", failure }, failure.message);
  const { link } = after({ type: "unhealthy", port: null, error });
  expect(link).toMatchObject({ state: "error", trouble: { kind: "crashed", tail: failure.detail.tail } });
});

test("a lost shell is an error in its words", () => {
  const { link } = after({ type: "lost", error: new Error("not allowed"), failure: null });
  expect(link).toMatchObject({ state: "error", trouble: { kind: "unavailable", message: "not allowed" } });
});

test("retry leaves an error, and only an error", () => {
  expect(after(failed, { type: "retry" }).link).toEqual({ state: "connecting", step: "starting" });
  const connected = after(ready(), healthy());
  expect(reduce(connected, { type: "retry" })).toBe(connected);
});

test("a restart is seen step by step", () => {
  const steps = [status("stopping"), status("starting"), ready(5151, 8).status].map(
    (status) => reduce(after(ready(), healthy()), { type: "status", status }).link,
  );
  expect(steps).toEqual([
    { state: "connecting", step: "stopping" },
    { state: "connecting", step: "starting" },
    { state: "connecting", step: "checking" },
  ]);
});
