// @vitest-environment node
import type { ServerResponse } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

const connectCalls = ({ commands }: ReturnType<typeof fakePlugin>) =>
  commands.filter((command) => command === "plugin:pillion|connect").length;

/** Whether the page still holds the lease of this index, after the page's timers have run. */
async function isHeld(plugin: ReturnType<typeof fakePlugin>, index: number): Promise<boolean> {
  await vi.advanceTimersByTimeAsync(60_000);
  return plugin.leases[index]?.isHeld ?? false;
}

/** Timers that run only when a test lets them. */
function stopTimers(): void {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
}

test("the first request starts an idle sidecar, and its lease ends some time after the last one", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const server = await backend((_, response) => void response.end("hello"));
  const first = handle.fetch("/1");
  plugin.sendStatus("idle");
  plugin.ready(server, 1);
  const response = await first;
  expect(await response.text()).toBe("hello");
  expect([response.url, response.redirected]).toEqual([`${server.url}/1`, false]);
  await (await handle.fetch("/2")).text();
  expect(connectCalls(plugin)).toBe(1);
  await plugin.leases[0]?.ended.promise;

  // The status still says that the run serves, but nothing keeps it from being stopped.
  await (await handle.fetch("/3")).text();
  expect(connectCalls(plugin)).toBe(2);
  await plugin.leases[1]?.ended.promise;
});

test("a request while the sidecar is stopped for lack of a use waits for the next run", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const [first, second] = [
    await backend((_, response) => void response.end("first")),
    await backend((_, response) => void response.end("second")),
  ];
  const waiting = handle.fetch("/");
  plugin.ready(first, 1);
  expect(await (await waiting).text()).toBe("first");
  await plugin.leases[0]?.ended.promise;
  // The app has begun the stop, and the page does not know it yet.
  plugin.setAccess(null);
  const next = handle.fetch("/");
  plugin.sendStatus("stopping", { readiness: "idle" });
  plugin.sendStatus("idle");
  plugin.sendStatus("starting");
  plugin.ready(second, 2);
  expect(await (await next).text()).toBe("second");
  expect(first.requests).toEqual(["GET /"]);
});

test("a request after a crash without a use starts the sidecar", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const server = await backend((_, response) => void response.end("up"));
  const first = handle.fetch("/");
  plugin.ready(server, 1);
  await (await first).text();
  await plugin.leases[0]?.ended.promise;
  plugin.sendStatus("idle", { failure: plugin.failure("crashed") });
  const next = handle.fetch("/");
  expect(connectCalls(plugin)).toBe(2);
  plugin.ready(server, 2);
  expect(await (await next).text()).toBe("up");
});

test("a response is a use until its body has ended, whether the page reads it or not", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const streams: ServerResponse[] = [];
  const server = await backend((request, response) => {
    if (request.url === "/short") return void response.end("never read");
    if (request.url === "/none") return void response.writeHead(204).end();
    response.write("start");
    streams.push(response);
  });
  stopTimers();
  const unread = handle.fetch("/short");
  plugin.ready(server, 1);
  await unread;
  await vi.waitFor(async () => expect(await isHeld(plugin, 0)).toBe(false));

  await handle.fetch("/none");
  expect(await isHeld(plugin, 1)).toBe(false);

  const streaming = await handle.fetch("/stream");
  expect(await isHeld(plugin, 2)).toBe(true);
  streams[0]?.end(" end");
  expect(await streaming.text()).toBe("start end");
  expect(await isHeld(plugin, 2)).toBe(false);

  const cancelled = await handle.fetch("/stream");
  expect(await isHeld(plugin, 3)).toBe(true);
  await cancelled.body?.cancel();
  expect(await isHeld(plugin, 3)).toBe(false);

  const broken = await handle.fetch("/stream");
  expect(await isHeld(plugin, 4)).toBe(true);
  streams[2]?.destroy();
  await expect(broken.text()).rejects.toThrow(TypeError);
  expect(await isHeld(plugin, 4)).toBe(false);
});

test("a failed request ends its use", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const aborted = new AbortController();
  const [arrived, server] = [deferred(), await backend(() => arrived.resolve())];
  const request = handle.fetch("/", { signal: aborted.signal });
  plugin.ready(server, 1);
  await arrived.promise;
  aborted.abort();
  await expect(request).rejects.toThrow("aborted");
  await plugin.leases[0]?.ended.promise;
});

test("an event stream and a WebSocket are uses until the page ends them", async () => {
  vi.stubGlobal("WebSocket", WebSocket);
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const server = await backend((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: one\n\n");
  });
  new WebSocketServer({ server: server.server });
  const events = handle.events("/changes");
  const one = events.next();
  plugin.ready(server, 1);
  expect((await one).value).toMatchObject({ data: "one" });
  stopTimers();
  expect(await isHeld(plugin, 0)).toBe(true);
  await events.return();
  expect(await isHeld(plugin, 0)).toBe(false);

  const opened = deferred();
  const live = handle.webSocket("/live", { onOpen: opened.resolve });
  await opened.promise;
  expect(await isHeld(plugin, 1)).toBe(true);
  live.close();
  await vi.waitFor(async () => expect(await isHeld(plugin, 1)).toBe(false));
});

test("a window that may not end its uses is told which permission is missing, once", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  onTestFinished(() => warn.mockRestore());
  const plugin = fakePlugin({ onDemand: true, refused: "unwatch" });
  const handle = sidecar(plugin.name);
  const server = await backend((_, response) => void response.end("hello"));
  const unwatched = () => plugin.commands.filter((command) => command.endsWith("|unwatch")).length;
  for (const count of [1, 2]) {
    const request = handle.fetch("/");
    if (count === 1) plugin.ready(server, 1);
    await (await request).text();
    await vi.waitFor(() => expect(unwatched()).toBe(count), { timeout: 60_000 });
  }
  await vi.waitFor(() => expect(warn).toHaveBeenCalledOnce());
  expect(warn.mock.calls[0]?.[0]).toContain('"pillion:allow-unwatch"');
  expect(warn.mock.calls[0]?.[0]).toContain("plugin:pillion|unwatch not allowed by ACL");
});

test("a preconnect that no request follows ends its use", async () => {
  const plugin = fakePlugin({ onDemand: true });
  sidecar(plugin.name).preconnect();
  plugin.setAccess({ url: "http://127.0.0.1:1", pid: 1, token: null });
  await vi.waitFor(() => expect(plugin.leases).toHaveLength(1));
  await plugin.leases[0]?.ended.promise;
});

test("a watch alone starts nothing", () => {
  const plugin = fakePlugin({ onDemand: true });
  const states: string[] = [];
  onTestFinished(sidecar(plugin.name).watch(({ readiness }) => states.push(readiness)));
  plugin.sendStatus("idle");
  expect(states).toEqual(["idle"]);
  expect(connectCalls(plugin)).toBe(0);
});

test("the response of a sidecar that does not run on demand is that of the platform", async () => {
  const plugin = fakePlugin();
  const server = await backend((_, response) => void response.end("hello"));
  const request = sidecar(plugin.name).fetch("/");
  plugin.ready(server, 1);
  // A response that was made by a script has no URL of its own.
  expect(Object.hasOwn(await request, "url")).toBe(false);
});
