import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { App } from "../src/App";
import { BackendClient } from "../src/lib/api";
import { Backend } from "../src/lib/backend";
import { FakeHost, failure, health, status } from "./fixtures";

let host: FakeHost;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  host = new FakeHost();
  const backend = new Backend(host, new BackendClient(async () => Response.json(health())));
  stop = backend.start();
  render(<App backend={backend} />);
});

afterEach(() => {
  stop();
  cleanup();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const card = () => screen.getByTestId("backend-status");
const state = () => card().dataset.state;
const fact = (name: string) => screen.getByTestId(`backend-${name}`).textContent;
const say = (...args: Parameters<typeof status>) => act(async () => host.say(status(...args)));

async function connect(): Promise<void> {
  await say("ready", { port: 4242, pid: 77 });
}

test("connecting: the name, what is awaited, and places for what is not known yet", async () => {
  await say("starting", { pid: 77 });

  expect(screen.getByRole("heading", { level: 1 }).textContent).toBe("AIOS");
  expect(state()).toBe("connecting");
  expect(fact("label")).toBe("Connecting");
  expect(screen.getByText("The backend is starting.")).toBeTruthy();
  expect([fact("port"), fact("version"), fact("uptime"), fact("pid")]).toEqual(["–", "–", "–", "77"]);
});

test("connected: port, version and process, and an uptime that ticks between health checks", async () => {
  await connect();

  expect(state()).toBe("connected");
  expect(fact("label")).toBe("Backend connected");
  expect([fact("port"), fact("version"), fact("pid")]).toEqual(["4242", "1.2.3", "77"]);
  expect(fact("uptime")).toBe("1 min 01 s");

  await act(() => vi.advanceTimersByTimeAsync(500));
  expect(fact("uptime")).toBe("1 min 02 s");
  await act(() => vi.advanceTimersByTimeAsync(1000));
  expect(fact("uptime")).toBe("1 min 03 s");
});

test("a hidden page does not tick, and is right at once when it is shown", async () => {
  await connect();
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  fireEvent(document, new Event("visibilitychange"));

  await act(() => vi.advanceTimersByTimeAsync(4000));
  expect(fact("uptime")).toBe("1 min 01 s");

  hidden.mockReturnValue(false);
  fireEvent(document, new Event("visibilitychange"));
  expect(fact("uptime")).toBe("1 min 05 s");
});

test("error: the reason in words, the exit, the last output, and Retry, which leads back without a reload", async () => {
  await connect();
  await say("failed", { failure });

  expect(state()).toBe("error");
  expect(fact("label")).toBe("Backend crashed");
  expect(screen.getByText("The backend was killed by signal 9.")).toBeTruthy();
  expect(fact("exit")).toBe("Ended with signal 9");
  expect(fact("tail")).toBe("listening\nout of memory");

  fireEvent.click(screen.getByRole("button", { name: "Retry" }));
  expect(state()).toBe("connecting");
  expect(host.restarts).toHaveLength(1);

  await say("ready", { port: 5151, pid: 78 });
  expect(state()).toBe("connected");
  expect([fact("port"), fact("pid")]).toEqual(["5151", "78"]);
});

test("restarting: amber with the reason, and green again by itself", async () => {
  await connect();
  await say("backingOff", { failure, pid: 77, restarts: 2 });

  expect(state()).toBe("restarting");
  expect(fact("label")).toBe("Backend restarting…");
  expect(screen.getByText("The backend was killed by signal 9. Restarts so far: 2.")).toBeTruthy();
  expect([fact("port"), fact("uptime"), fact("pid")]).toEqual(["–", "–", "–"]);
  expect(screen.queryByRole("button", { name: "Retry" })).toBeNull();

  await say("starting", { pid: 78, restarts: 2 });
  expect([fact("label"), fact("pid")]).toEqual(["Backend restarting…", "78"]);
  await say("ready", { port: 5151, pid: 78, restarts: 2 });
  expect([state(), fact("label"), fact("port")]).toEqual(["connected", "Backend connected", "5151"]);
});

test("unhealthy: amber with the reason, and all that is known of it", async () => {
  await connect();
  await say("unhealthy", { port: 4242, pid: 77, reason: "an answer is overdue" });

  expect([state(), fact("label")]).toEqual(["unhealthy", "Backend is slow to answer"]);
  expect(screen.getByText("An answer is overdue.")).toBeTruthy();
  expect([fact("port"), fact("version"), fact("pid")]).toEqual(["4242", "1.2.3", "77"]);
  expect(fact("uptime")).toBe("1 min 01 s");
});

test("what changes with the state is announced politely; what ticks is not announced", async () => {
  await connect();

  const live = card().querySelector<HTMLElement>('[aria-live="polite"]');
  if (!live) throw new Error("no live region");
  expect(within(live).getByText("Backend connected")).toBeTruthy();
  expect(within(live).queryByTestId("backend-uptime")).toBeNull();
});
