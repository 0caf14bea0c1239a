// @vitest-environment node

import { expect, onTestFinished, test, vi } from "vitest";
import type { Log, Status, Usage } from "../bindings.js";
import { SidecarError } from "../error.js";
import { sidecar } from "../sidecar.js";
import { deferred, fakePlugin } from "./plugin.js";

const WATCH = "plugin:pillion|watch";

test("a watch receives each status, even before the watch command has resolved", () => {
  const plugin = fakePlugin();
  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));

  plugin.sendStatus("starting");
  plugin.sendStatus("ready");

  expect(seen).toEqual(["starting", "ready"]);
});

test("a status that was already received is not delivered again", () => {
  const plugin = fakePlugin();
  const seen: Status[] = [];
  sidecar(plugin.name).watch((status) => seen.push(status));

  plugin.sendStatus("starting");
  plugin.sendStatus("ready");
  for (const status of [...seen]) plugin.send(status);

  expect(seen.map(({ seq }) => seq)).toEqual([1, 2]);
});

test("all listeners share one subscription, and a late one receives the last status", async () => {
  const plugin = fakePlugin();
  const first: string[] = [];
  sidecar(plugin.name).watch(({ state }) => first.push(state));
  plugin.sendStatus("ready");

  const late = deferred<Status>();
  const seen: string[] = [];
  sidecar(plugin.name).watch((status) => {
    seen.push(status.state);
    late.resolve(status);
  });
  expect(seen).toEqual([]);
  expect(await late.promise).toMatchObject({ state: "ready" });
  plugin.sendStatus("unhealthy");

  expect(first).toEqual(["ready", "unhealthy"]);
  expect(seen).toEqual(["ready", "unhealthy"]);
  expect(plugin.commands).toEqual([WATCH]);
});

test("a late listener that receives a newer status first does not receive the older one", async () => {
  const plugin = fakePlugin();
  sidecar(plugin.name).watch(() => {});
  plugin.sendStatus("starting");

  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));
  plugin.sendStatus("ready");
  await Promise.resolve();

  expect(seen).toEqual(["ready"]);
});

test("the subscription ends with its last listener, and a new listener begins another", async () => {
  const plugin = fakePlugin();
  const [unlistenFirst, unlistenSecond] = [
    sidecar(plugin.name).watch(() => {}),
    sidecar(plugin.name).watch(() => {}),
  ];
  plugin.subscriptions[0]?.response.resolve(17);

  unlistenFirst();
  unlistenFirst();
  expect(plugin.commands).toEqual([WATCH]);
  unlistenSecond();
  expect(await plugin.unwatched).toBe(17);

  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));
  plugin.sendStatus("ready");
  expect(seen).toEqual(["ready"]);
  expect(plugin.subscriptions).toHaveLength(2);
});

test("unlistening before the watch command has resolved ends the subscription once its id is known", async () => {
  const plugin = fakePlugin();
  const onStatus = vi.fn();
  const unlisten = sidecar(plugin.name).watch(onStatus);

  unlisten();
  plugin.sendStatus("ready");
  expect(plugin.commands).toEqual([WATCH]);

  plugin.subscriptions[0]?.response.resolve(17);
  expect(await plugin.unwatched).toBe(17);
  plugin.sendStatus("failed");
  expect(onStatus).not.toHaveBeenCalled();
});

test("watching again right after unlistening ends the old subscription and delivers the new one", async () => {
  const plugin = fakePlugin();
  const [old, now] = [vi.fn(), vi.fn()];
  sidecar(plugin.name).watch(old)();
  sidecar(plugin.name).watch(now);

  plugin.subscriptions[0]?.response.resolve(1);
  plugin.subscriptions[1]?.response.resolve(2);
  plugin.sendStatus("ready");

  expect(await plugin.unwatched).toBe(1);
  expect(now).toHaveBeenCalledOnce();
  expect(old).not.toHaveBeenCalled();
});

test("a failed subscription without listeners does not affect the next one", async () => {
  const plugin = fakePlugin();
  const onError = vi.fn();
  sidecar(plugin.name).watch(() => {})();
  sidecar(plugin.name).watch(() => {}, onError);

  plugin.subscriptions[0]?.response.reject("not allowed");
  await new Promise(setImmediate);

  expect(onError).not.toHaveBeenCalled();
});

test("an exception in a callback is reported, and all listeners receive what follows", () => {
  const plugin = fakePlugin();
  const reported = vi.fn();
  vi.stubGlobal("reportError", reported);
  const [throwing, other] = [vi.fn(), vi.fn()];
  const oops = new Error("oops");
  throwing.mockImplementation(() => {
    throw oops;
  });
  sidecar(plugin.name).watch(throwing);
  sidecar(plugin.name).watch(other);

  plugin.sendStatus("starting");
  plugin.sendStatus("ready");

  expect(throwing).toHaveBeenCalledTimes(2);
  expect(other).toHaveBeenCalledTimes(2);
  expect(reported.mock.calls).toEqual([[oops], [oops]]);
});

test("an exception in a callback is shown where nothing reports exceptions", () => {
  const plugin = fakePlugin();
  const shown = vi.spyOn(console, "error").mockImplementation(() => {});
  onTestFinished(() => shown.mockRestore());
  vi.stubGlobal("reportError", undefined);
  const oops = new Error("oops");
  sidecar(plugin.name).watch(() => {
    throw oops;
  });

  plugin.sendStatus("ready");

  expect(shown.mock.calls).toEqual([[oops]]);
});

test("no callback follows an unlisten inside a callback, and a second unlisten has no effect", async () => {
  const plugin = fakePlugin();
  const seen: string[] = [];
  const unlisten = sidecar(plugin.name).watch(({ state }) => {
    seen.push(state);
    unlisten();
    unlisten();
  });
  plugin.subscriptions[0]?.response.resolve(3);

  plugin.sendStatus("starting");
  plugin.sendStatus("ready");

  expect(await plugin.unwatched).toBe(3);
  expect(seen).toEqual(["starting"]);
  expect(plugin.commands.filter((command) => command.endsWith("unwatch"))).toHaveLength(1);
});

test("a subscription that cannot begin is reported to its listeners, and can be tried again", async () => {
  const plugin = fakePlugin();
  const [first, second] = [deferred<Error>(), deferred<Error>()];
  const unlistened = vi.fn();
  const backend = sidecar(plugin.name);
  backend.watch(() => {}, first.resolve);
  backend.watch(() => {}, second.resolve);
  backend.watch(() => {}, unlistened)();

  plugin.subscriptions[0]?.response.reject(plugin.failure("unknownSidecar"));

  expect(await first.promise).toBeInstanceOf(SidecarError);
  expect(await second.promise).toMatchObject({ kind: "unknownSidecar" });
  expect(unlistened).not.toHaveBeenCalled();
  expect(plugin.commands).toEqual([WATCH]);

  const seen = vi.fn();
  backend.watch(seen);
  plugin.sendStatus("ready");
  expect(seen).toHaveBeenCalledOnce();
});

test("output is delivered until the subscription ends", async () => {
  const plugin = fakePlugin();
  const seen: Log[] = [];
  const unlisten = sidecar(plugin.name).logs({}, (log) => seen.push(log));
  const entry = { seq: 1, at: 1, run: 1, stream: "stdout", level: null, text: "one" } as const;

  plugin.send({ kind: "lines", entries: [entry] });
  plugin.send({ kind: "missed", lines: 3 });
  unlisten();
  plugin.send({ kind: "lines", entries: [{ ...entry, seq: 5 }] });
  plugin.subscriptions[0]?.response.resolve(7);

  expect(seen).toEqual([
    { kind: "lines", entries: [entry] },
    { kind: "missed", lines: 3 },
  ]);
  expect(await plugin.unwatched).toBe(7);
});

test("the app learns which output is handled, also by a callback that throws", async () => {
  const plugin = fakePlugin();
  const unlisten = sidecar(plugin.name).logs({}, () => {
    throw new Error("the page's own");
  });
  // Tauri throws the error again there.
  const thrown = vi.fn();
  vi.stubGlobal("queueMicrotask", thrown);
  const send = () => plugin.send({ kind: "missed", lines: 1 });

  const first = plugin.nextHandled();
  send();
  send();
  // Told once the id is known.
  plugin.subscriptions[0]?.response.resolve(7);
  await first;
  send();
  const second = plugin.nextHandled();
  send();
  await second;
  unlisten();
  send();
  send();
  await plugin.unwatched;

  expect(thrown).toHaveBeenCalledTimes(4);
  expect(plugin.handled).toEqual([
    { id: 7, messages: 2 },
    { id: 7, messages: 2 },
  ]);
});

test("other subscriptions tell nothing about what is handled", async () => {
  const plugin = fakePlugin();
  const unlisten = sidecar(plugin.name).watch(() => {});
  for (const state of ["starting", "ready", "stopping", "stopped"] as const) plugin.sendStatus(state);
  unlisten();
  plugin.subscriptions[0]?.response.resolve(7);
  await plugin.unwatched;

  expect(plugin.handled).toEqual([]);
});

test("usage is delivered at the interval that the options say, until the subscription ends", async () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  const seen: Usage[] = [];
  const unlisten = handle.usage((usage) => seen.push(usage), { intervalMs: 2000.5 });
  const usage: Usage = {
    sidecar: plugin.name,
    at: 1,
    run: 1,
    cpuPercent: null,
    cpuTimeMs: 20,
    memory: 1024,
    memoryKind: "proportional",
    processes: 2,
    descriptors: 12,
  };

  plugin.send(usage);
  unlisten();
  plugin.send({ ...usage, at: 2 });
  plugin.subscriptions[0]?.response.resolve(7);

  expect(seen).toEqual([usage]);
  expect(await plugin.unwatched).toBe(7);
  handle.usage(() => {});
  expect(plugin.commands.filter((command) => command === "plugin:pillion|usage")).toHaveLength(2);
  expect(plugin.queries).toEqual([{ intervalMs: 2000 }, {}]);
});

test("usage without permission calls onError with the reason", async () => {
  const plugin = fakePlugin();
  const failed = deferred<Error>();
  sidecar(plugin.name).usage(() => {}, {}, failed.resolve);

  plugin.subscriptions[0]?.response.reject("pillion.usage not allowed");

  expect((await failed.promise).message).toContain("not allowed");
});

test("logs without permission call onError with the reason", async () => {
  const plugin = fakePlugin();
  const failed = deferred<Error>();
  sidecar(plugin.name).logs({}, () => {}, failed.resolve);

  plugin.subscriptions[0]?.response.reject("pillion.logs not allowed");

  expect((await failed.promise).message).toContain("not allowed");
});

test("logs ask the app for the lines that the options select", () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  handle.logs({ tail: 200, since: new Date(5), levels: true, ansi: false }, () => {});
  handle.logs({ since: 7 }, () => {});
  handle.logs({}, () => {});

  expect(plugin.queries).toEqual([{ tail: 200, since: 5, levels: true, ansi: false }, { since: 7 }, {}]);
});

test("logs with a fraction or a negative number ask for what the app can read", () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  handle.logs({ tail: 2.9, since: 1000.5 }, () => {});
  handle.logs({ tail: -3, since: new Date(-5) }, () => {});

  expect(plugin.queries).toEqual([
    { tail: 2, since: 1000 },
    { tail: 0, since: 0 },
  ]);
});
