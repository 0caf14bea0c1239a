import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { App } from "../src/App";
import { BackendClient } from "../src/lib/api";
import { Backend } from "../src/lib/backend";
import { FakeHost, failure, health, hostWith, status } from "./fixtures";

let host: FakeHost;
let stop: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  host = new FakeHost();
  const backend = new Backend(host, new BackendClient(hostWith(async () => Response.json(health()))));
  stop = backend.start();
  render(<App backend={backend} shown={backend.view()} />);
});

afterEach(() => {
  stop();
  cleanup();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const card = () => screen.getByTestId("backend-status");
const state = () => card().dataset.state;
const detail = (name: string) => screen.getByTestId(`backend-${name}`).textContent;
const send = (...args: Parameters<typeof status>) => act(async () => host.send(status(...args)));

async function connect(): Promise<void> {
  await send("ready", { port: 4242, pid: 77 });
}

test("connecting: shows the app's name, the step, and placeholders for unknown details", async () => {
  await send("starting", { pid: 77 });

  expect(screen.getByRole("heading", { level: 1 }).textContent).toBe("AIOS");
  expect(state()).toBe("connecting");
  expect(detail("label")).toBe("Connecting");
  expect(screen.getByText("The backend is starting.")).toBeTruthy();
  expect([detail("port"), detail("version"), detail("uptime"), detail("pid")]).toEqual(["–", "–", "–", "77"]);
});

test("the progress of the backend is shown while it has any", async () => {
  await send("starting", { pid: 77, progress: "loading model 42%" });
  expect(screen.getByTestId("backend-progress").textContent).toBe("loading model 42%");
  await send("ready", { port: 4242, pid: 77, progress: "<b>3 users</b>" });
  expect(screen.getByTestId("backend-progress").textContent).toBe("<b>3 users</b>");
  await send("ready", { port: 4242, pid: 77 });
  expect(screen.queryByTestId("backend-progress")).toBeNull();
});

test("connected: shows port, version and process, and an uptime that ticks between health checks", async () => {
  await connect();

  expect(state()).toBe("connected");
  expect(detail("label")).toBe("Backend connected");
  expect([detail("port"), detail("version"), detail("pid")]).toEqual(["4242", "1.2.3", "77"]);
  expect(detail("uptime")).toBe("1 min 01 s");

  await act(() => vi.advanceTimersByTimeAsync(500));
  expect(detail("uptime")).toBe("1 min 02 s");
  await act(() => vi.advanceTimersByTimeAsync(1000));
  expect(detail("uptime")).toBe("1 min 03 s");
});

test("the uptime does not tick while the page is hidden, and updates at once when it is shown", async () => {
  await connect();
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(true);
  fireEvent(document, new Event("visibilitychange"));

  await act(() => vi.advanceTimersByTimeAsync(4000));
  expect(detail("uptime")).toBe("1 min 01 s");

  hidden.mockReturnValue(false);
  fireEvent(document, new Event("visibilitychange"));
  expect(detail("uptime")).toBe("1 min 05 s");
});

test("error: shows reason, exit and last output, and Retry connects again without a reload", async () => {
  await connect();
  await send("failed", { failure });

  expect(state()).toBe("error");
  expect(detail("label")).toBe("Backend crashed");
  expect(screen.getByText("The backend was killed by signal 9.")).toBeTruthy();
  expect(detail("exit")).toBe("Ended with signal 9");
  expect(detail("tail")).toBe("listening\nout of memory");

  fireEvent.click(screen.getByRole("button", { name: "Retry" }));
  expect(state()).toBe("connecting");
  expect(host.restarts).toHaveLength(1);

  await send("ready", { port: 5151, pid: 78 });
  expect(state()).toBe("connected");
  expect([detail("port"), detail("pid")]).toEqual(["5151", "78"]);
});

test("restarting: shows the reason, and connects again by itself", async () => {
  await connect();
  await send("backingOff", { failure, pid: 77, restarts: 2 });

  expect(state()).toBe("restarting");
  expect(detail("label")).toBe("Backend restarting…");
  expect(screen.getByText("The backend was killed by signal 9. Restarts so far: 2.")).toBeTruthy();
  expect([detail("port"), detail("uptime"), detail("pid")]).toEqual(["–", "–", "–"]);
  expect(screen.queryByRole("button", { name: "Retry" })).toBeNull();

  await send("starting", { pid: 78, restarts: 2 });
  expect([detail("label"), detail("pid")]).toEqual(["Backend restarting…", "78"]);
  await send("ready", { port: 5151, pid: 78, restarts: 2 });
  expect([state(), detail("label"), detail("port")]).toEqual(["connected", "Backend connected", "5151"]);
});

test("unhealthy: shows the reason, and keeps the details", async () => {
  await connect();
  await send("unhealthy", { port: 4242, pid: 77, reason: "an answer is overdue" });

  expect([state(), detail("label")]).toEqual(["unhealthy", "Backend is slow to respond"]);
  expect(screen.getByText("An answer is overdue.")).toBeTruthy();
  expect([detail("port"), detail("version"), detail("pid")]).toEqual(["4242", "1.2.3", "77"]);
  expect(detail("uptime")).toBe("1 min 01 s");
});

test("changes of the state are announced politely; the uptime is not announced", async () => {
  await connect();

  const live = card().querySelector<HTMLElement>('[aria-live="polite"]');
  if (!live) throw new Error("no live region");
  expect(within(live).getByText("Backend connected")).toBeTruthy();
  expect(within(live).queryByTestId("backend-uptime")).toBeNull();
});
