import { SidecarError } from "tauri-plugin-pillion-api";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { BackendClient } from "../src/lib/api";
import { Backend, HEALTH_INTERVAL } from "../src/lib/backend";
import type { ConnectionState } from "../src/lib/connection-state";
import type { Host } from "../src/lib/tauri";
import { FakeHost, failure, health, hostWith, status } from "./fixtures";

beforeEach(() => vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A started backend whose health checks get the response of `respond`. `requests` holds their paths. */
function started(respond: () => Response = () => Response.json(health())) {
  const host = new FakeHost();
  const requests: string[] = [];
  const fetch: Host["fetch"] = async (request) => {
    requests.push(new URL((request as Request).url).pathname);
    return respond();
  };
  const backend = new Backend(host, new BackendClient(hostWith(fetch)));
  const stop = backend.start();
  onTestFinished(stop);
  return { host, requests, backend, stop };
}

/** Resolves when the connection is in `state`; if that is `connected`, when the page has the response of this run. */
function reached(backend: Backend, state: ConnectionState["state"]): Promise<ConnectionState> {
  return new Promise((resolve) => {
    const check = () => {
      const { connection } = backend.view();
      if (connection.state !== state || (connection.state === "connected" && !connection.response)) return;
      resolve(connection);
    };
    backend.subscribe(check);
    check();
  });
}

test("watches at once, is connected to a ready backend, and checks its health", async () => {
  const { host, requests, backend } = started();
  expect(host.watches).toHaveLength(1);
  host.send(status("starting", { port: 4242, pid: 7 }));
  expect(requests).toEqual([]);

  host.send(status("ready", { port: 4242, pid: 7 }));
  expect(backend.view().connection).toEqual({ state: "connected", response: null });

  expect(await reached(backend, "connected")).toMatchObject({ response: { health: { version: "1.2.3" } } });
  expect(requests).toEqual(["/health"]);
});

test("a ready backend that the page cannot reach is an error, and is checked again with its next status", async () => {
  let reachable = false;
  const { host, requests, backend } = started(() =>
    reachable ? Response.json(health()) : new Response("not for this page", { status: 403 }),
  );
  host.send(status("ready", { port: 4242, pid: 7 }));
  expect(await reached(backend, "error")).toMatchObject({ failure: { kind: "http" } });

  reachable = true;
  host.send(status("ready", { port: 4242, pid: 7 }));
  expect(backend.view().connection).toMatchObject({ state: "connecting", step: "checking" });
  await reached(backend, "connected");
  expect(requests).toHaveLength(2);
});

test("follows a crashed backend through its restart to its new port", async () => {
  const { host, requests, backend } = started();
  host.send(status("ready", { port: 4242, pid: 7 }));
  await reached(backend, "connected");

  host.send(status("backingOff", { failure, restarts: 1 }));
  expect(backend.view().connection).toMatchObject({ state: "restarting", reason: failure.message });
  host.send(status("starting", { pid: 8, restarts: 1 }));
  host.send(status("ready", { port: 5151, pid: 8, restarts: 1 }));

  await reached(backend, "connected");
  expect(backend.view().status).toMatchObject({ port: 5151, pid: 8 });
  expect(requests).toHaveLength(2);
});

test("a restart during a health check discards the response, and checks the new run", async () => {
  const { host, requests, backend } = started(() => {
    if (requests.length === 1) host.send(status("ready", { port: 4242, pid: 8 }));
    return Response.json(health({ version: `${requests.length}` }));
  });
  host.send(status("ready", { port: 4242, pid: 7 }));

  expect(await reached(backend, "connected")).toMatchObject({ response: { health: { version: "2" } } });
});

test("an unhealthy backend is shown as such, and gets no health checks of the page", async () => {
  const { host, requests, backend } = started();
  host.send(status("ready", { port: 4242, pid: 7 }));
  await reached(backend, "connected");

  host.send(status("unhealthy", { port: 4242, pid: 7, reason: "an answer is overdue" }));
  expect(backend.view().connection).toMatchObject({ state: "unhealthy", reason: "an answer is overdue" });
  await vi.advanceTimersByTimeAsync(2 * HEALTH_INTERVAL);
  expect(requests).toHaveLength(1);

  host.send(status("ready", { port: 4242, pid: 7 }));
  expect(backend.view().connection.state).toBe("connected");
});

test("a failed backend shows the failure; Retry restarts it once and connects", async () => {
  const { host, backend } = started();
  host.send(status("failed", { failure }));
  expect(await reached(backend, "error")).toMatchObject({ failure: { tail: failure.detail.tail } });

  const retried = [backend.retry(), backend.retry()];
  expect(backend.view().connection).toMatchObject({ state: "connecting", step: "starting" });
  expect(host.restarts).toHaveLength(1);
  host.send(status("ready", { port: 6161, pid: 9 }));
  host.restarts[0]?.resolve({ sidecar: "backend", url: "", port: 6161, pid: 9, version: null });
  await Promise.all(retried);

  expect((await reached(backend, "connected")).state).toBe("connected");
});

test("a failed restart shows its failure", async () => {
  const { host, backend } = started();
  host.send(status("stopped"));

  const retried = backend.retry();
  host.send(status("starting"));
  host.restarts[0]?.reject(new SidecarError({ ...failure, kind: "spawn", message: "no such file" }));
  await retried;

  expect(backend.view().connection).toMatchObject({ state: "error", failure: { message: "no such file" } });
});

test("a subscription that cannot begin is an error, and Retry begins another", async () => {
  const { host, backend } = started();
  host.watches[0]?.onError?.(new Error("watch not allowed"));
  expect(backend.view().connection).toMatchObject({ failure: { message: "watch not allowed" } });

  void backend.retry();
  expect(host.watches).toHaveLength(2);
});

test("a ready backend is checked at each interval, and a failed check is an error", async () => {
  let healthy = true;
  const { host, requests, backend } = started(() =>
    healthy ? Response.json(health()) : new Response("gone", { status: 503 }),
  );
  host.send(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(requests).toHaveLength(2);

  healthy = false;
  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(backend.view().connection).toMatchObject({ state: "error", failure: { kind: "http" } });

  healthy = true;
  await vi.advanceTimersByTimeAsync(HEALTH_INTERVAL);
  expect(backend.view().connection.state).toBe("connected");
});

test("a hidden page does not check, and checks when it is shown again", async () => {
  const hidden = vi.spyOn(document, "hidden", "get").mockReturnValue(false);
  const { host, requests, backend } = started();
  host.send(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  hidden.mockReturnValue(true);
  await vi.advanceTimersByTimeAsync(3 * HEALTH_INTERVAL);
  expect(requests).toHaveLength(1);

  // It is shown twice in quick succession: switching between windows must not add checks.
  hidden.mockReturnValue(false);
  for (let shown = 0; shown < 2; shown++) {
    document.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(0);
  }
  expect(requests).toHaveLength(2);
});

test("stopping ends the subscription and the checks", async () => {
  const { host, requests, backend, stop } = started();
  host.send(status("ready", { port: 4242 }));
  await reached(backend, "connected");

  stop();
  await vi.advanceTimersByTimeAsync(3 * HEALTH_INTERVAL);

  expect(host.ended).toBe(1);
  expect(requests).toHaveLength(1);
});
