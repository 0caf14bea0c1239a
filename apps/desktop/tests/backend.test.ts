import { SidecarError } from "tauri-plugin-pillion-api";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { BackendClient } from "../src/lib/api";
import { Backend, HEALTH_INTERVAL } from "../src/lib/backend";
import type { Link } from "../src/lib/connection";
import { FakeHost, failure, health, status } from "./fixtures";

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A started backend whose health checks are answered by `answer`, and what they were addressed to. */
function started(answer: () => Response = () => Response.json(health())) {
  const host = new FakeHost();
  const requests: string[] = [];
  const client = new BackendClient(async (path) => {
    requests.push(path);
    return answer();
  });
  const backend = new Backend(host, client);
  const stop = backend.start();
  onTestFinished(stop);
  return { host, requests, backend, stop };
}

/** Resolves when the link is in `state`. */
function reached(backend: Backend, state: Link["state"]): Promise<Link> {
  return new Promise((resolve) => {
    const look = () => {
      const { link } = backend.connection();
      if (link.state === state) resolve(link);
    };
    backend.subscribe(look);
    look();
  });
}

test("watches at once, asks when the backend is ready, and connects on the answer", async () => {
  const { host, requests, backend } = started();
  expect(host.watches).toHaveLength(1);
  host.say(status("starting", { port: 4242, pid: 7 }));
  expect(requests).toEqual([]);

  host.say(status("ready", { port: 4242, pid: 7 }));

  expect(await reached(backend, "connected")).toMatchObject({ answer: { health: { version: "1.2.3" } } });
  expect(requests).toEqual(["/health"]);
});

test("is settled with the first answer, also for who asks later, and also when there is no backend", async () => {
  const { host, backend } = started();
  const settled = vi.fn();
  void backend.settled().then(settled);
  host.say(status("starting"));
  await Promise.resolve();
  expect(settled).not.toHaveBeenCalled();

  host.say(status("ready", { port: 4242, pid: 7 }));
  await reached(backend, "connected");
  await backend.settled();
  expect(settled).toHaveBeenCalledOnce();

  const dead = started();
  dead.host.say(status("failed", { failure }));
  await dead.backend.settled();
  expect(dead.backend.connection().link.state).toBe("error");
});

test("a backend that crashes is followed through its restart, to wherever it comes back", async () => {
  const { host, requests, backend } = started();
  host.say(status("ready", { port: 4242, pid: 7 }));
  await reached(backend, "connected");

  host.say(status("backingOff", { failure, restarts: 1 }));
  expect(backend.connection().link).toMatchObject({ state: "restarting", reason: failure.message });
  host.say(status("starting", { pid: 8, restarts: 1 }));
  host.say(status("ready", { port: 5151, pid: 8, restarts: 1 }));

  await reached(backend, "connected");
  expect(backend.connection().status).toMatchObject({ port: 5151, pid: 8 });
  expect(requests).toHaveLength(2);
});

test("a restart during a health check leaves the old answer aside and asks the new backend", async () => {
  const { host, requests, backend } = started(() => {
    if (requests.length === 1) host.say(status("ready", { port: 4242, pid: 8 }));
    return Response.json(health({ version: `${requests.length}` }));
  });
  host.say(status("ready", { port: 4242, pid: 7 }));

  expect(await reached(backend, "connected")).toMatchObject({ answer: { health: { version: "2" } } });
});

test("an unhealthy backend is shown as such, and is not asked by the page as well", async () => {
  const { host, requests, backend } = started();
  host.say(status("ready", { port: 4242, pid: 7 }));
  await reached(backend, "connected");

  host.say(status("unhealthy", { port: 4242, pid: 7, reason: "an answer is overdue" }));
  expect(backend.connection().link).toMatchObject({ state: "unhealthy", reason: "an answer is overdue" });
  await vi.advanceTimersByTimeAsync(2 * HEALTH_INTERVAL);
  expect(requests).toHaveLength(1);

  host.say(status("ready", { port: 4242, pid: 7 }));
  expect(backend.connection().link.state).toBe("connected");
});

test("a failed backend shows why; Retry restarts once and the answer connects", async () => {
  const { host, backend } = started();
  host.say(status("failed", { failure }));
  expect(await reached(backend, "error")).toMatchObject({ trouble: { tail: failure.detail.tail } });

  const retried = [backend.retry(), backend.retry()];
  expect(backend.connection().link).toMatchObject({ state: "connecting", step: "starting" });
  expect(host.restarts).toHaveLength(1);
  host.say(status("ready", { port: 6161, pid: 9 }));
  host.restarts[0]?.resolve({ sidecar: "backend", url: "", port: 6161, pid: 9, version: null });
  await Promise.all(retried);

  expect((await reached(backend, "connected")).state).toBe("connected");
});

test("a restart that fails says why", async () => {
  const { host, backend } = started();
  host.say(status("stopped"));

  const retried = backend.retry();
  host.say(status("starting"));
  host.restarts[0]?.reject(new SidecarError({ ...failure, kind: "spawn", message: "no such file" }));
  await retried;

  expect(backend.connection().link).toMatchObject({ state: "error", trouble: { message: "no such file" } });
});

test("a watch that could not begin is an error, and Retry begins another", async () => {
  const { host, backend } = started();
  host.watches[0]?.onError?.(new Error("watch not allowed"));
  expect(backend.connection().link).toMatchObject({ trouble: { message: "watch not allowed" } });

  void backend.retry();
  expect(host.watches).toHaveLength(2);
});

test("a ready backend is asked how it is at each interval, and one that stops answering is an error", async () => {
  let well = true;
  const { host, requests, backend } = started(() =>
    well ? Response.json(health()) : new Response("gone", { status: 503 }),
  );
  host.say(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(requests).toHaveLength(2);

  well = false;
  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(backend.connection().link).toMatchObject({ state: "error", trouble: { kind: "http" } });

  well = true;
  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(backend.connection().link.state).toBe("connected");
});

test("a hidden page does not ask, and asks when it is shown again", async () => {
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(false);
  const { host, requests, backend } = started();
  host.say(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  hidden.mockReturnValue(true);
  await vi.advanceTimersByTimeAsync(3 * HEALTH_INTERVAL);
  expect(requests).toHaveLength(1);

  // Shown again, and then once more at once: a window that is switched to and fro asks no more often for it.
  hidden.mockReturnValue(false);
  for (let shown = 0; shown < 2; shown++) {
    document.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(0);
  }
  expect(requests).toHaveLength(2);
});

test("stopping ends the watch and the checks", async () => {
  const { host, requests, backend, stop } = started();
  host.say(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  stop();
  await vi.advanceTimersByTimeAsync(3 * HEALTH_INTERVAL);

  expect(host.ended).toBe(1);
  expect(requests).toHaveLength(1);
});
