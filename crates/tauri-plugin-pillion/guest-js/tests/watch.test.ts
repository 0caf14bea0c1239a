// @vitest-environment node

import { expect, test, vi } from "vitest";
import type { Log, Status } from "../bindings.js";
import { SidecarError } from "../error.js";
import { sidecar } from "../sidecar.js";
import { deferred, fakePlugin } from "./plugin.js";

const WATCH = "plugin:pillion|watch";

test("a watch delivers the snapshot and then each change, even before the command has answered", () => {
  const plugin = fakePlugin();
  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));

  plugin.say("starting");
  plugin.say("ready");

  expect(seen).toEqual(["starting", "ready"]);
});

test("a change that the snapshot already held is not delivered twice", () => {
  const plugin = fakePlugin();
  const seen: Status[] = [];
  sidecar(plugin.name).watch((status) => seen.push(status));

  plugin.say("starting");
  plugin.say("ready");
  for (const status of [...seen]) plugin.send(status);

  expect(seen.map(({ seq }) => seq)).toEqual([1, 2]);
});

test("however many watch, the app is asked once; who comes late is told the last state all the same", async () => {
  const plugin = fakePlugin();
  const first: string[] = [];
  sidecar(plugin.name).watch(({ state }) => first.push(state));
  plugin.say("ready");

  const late = deferred<Status>();
  const seen: string[] = [];
  sidecar(plugin.name).watch((status) => {
    seen.push(status.state);
    late.resolve(status);
  });
  expect(seen).toEqual([]);
  expect(await late.promise).toMatchObject({ state: "ready" });
  plugin.say("unhealthy");

  expect(first).toEqual(["ready", "unhealthy"]);
  expect(seen).toEqual(["ready", "unhealthy"]);
  expect(plugin.commands).toEqual([WATCH]);
});

test("a change that outruns the last state is not followed by it", async () => {
  const plugin = fakePlugin();
  sidecar(plugin.name).watch(() => {});
  plugin.say("starting");

  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));
  plugin.say("ready");
  await Promise.resolve();

  expect(seen).toEqual(["ready"]);
});

test("the stream ends with the last of its watchers, and a new one begins another", async () => {
  const plugin = fakePlugin();
  const [stopFirst, stopSecond] = [
    sidecar(plugin.name).watch(() => {}),
    sidecar(plugin.name).watch(() => {}),
  ];
  plugin.streams[0]?.answer.resolve(17);

  stopFirst();
  stopFirst();
  expect(plugin.commands).toEqual([WATCH]);
  stopSecond();
  expect(await plugin.unwatched).toBe(17);

  const seen: string[] = [];
  sidecar(plugin.name).watch(({ state }) => seen.push(state));
  plugin.say("ready");
  expect(seen).toEqual(["ready"]);
  expect(plugin.streams).toHaveLength(2);
});

test("stopping before the watch command has answered still ends it, once the id is known", async () => {
  const plugin = fakePlugin();
  const onStatus = vi.fn();
  const stop = sidecar(plugin.name).watch(onStatus);

  stop();
  plugin.say("ready");
  expect(plugin.commands).toEqual([WATCH]);

  plugin.streams[0]?.answer.resolve(17);
  expect(await plugin.unwatched).toBe(17);
  plugin.say("failed");
  expect(onStatus).not.toHaveBeenCalled();
});

test("stopping and watching again at once loses neither: the old stream ends, the new one is heard", async () => {
  const plugin = fakePlugin();
  const [old, now] = [vi.fn(), vi.fn()];
  sidecar(plugin.name).watch(old)();
  sidecar(plugin.name).watch(now);

  plugin.streams[0]?.answer.resolve(1);
  plugin.streams[1]?.answer.resolve(2);
  plugin.say("ready");

  expect(await plugin.unwatched).toBe(1);
  expect(now).toHaveBeenCalledOnce();
  expect(old).not.toHaveBeenCalled();
});

test("a stream that could not begin, and was not wanted any more, is not taken for the one that is", async () => {
  const plugin = fakePlugin();
  const onError = vi.fn();
  sidecar(plugin.name).watch(() => {})();
  sidecar(plugin.name).watch(() => {}, onError);

  plugin.streams[0]?.answer.reject("not allowed");
  await new Promise(setImmediate);

  expect(onError).not.toHaveBeenCalled();
});

test("a callback that throws is reported, and neither it nor the others miss what follows", () => {
  const plugin = fakePlugin();
  const reported = vi.fn();
  vi.stubGlobal("reportError", reported);
  const [clumsy, other] = [vi.fn(), vi.fn()];
  const oops = new Error("oops");
  clumsy.mockImplementation(() => {
    throw oops;
  });
  sidecar(plugin.name).watch(clumsy);
  sidecar(plugin.name).watch(other);

  plugin.say("starting");
  plugin.say("ready");

  expect(clumsy).toHaveBeenCalledTimes(2);
  expect(other).toHaveBeenCalledTimes(2);
  expect(reported.mock.calls).toEqual([[oops], [oops]]);
});

test("stopping from inside the callback is the last callback, and stopping twice ends once", async () => {
  const plugin = fakePlugin();
  const seen: string[] = [];
  const stop = sidecar(plugin.name).watch(({ state }) => {
    seen.push(state);
    stop();
    stop();
  });
  plugin.streams[0]?.answer.resolve(3);

  plugin.say("starting");
  plugin.say("ready");

  expect(await plugin.unwatched).toBe(3);
  expect(seen).toEqual(["starting"]);
  expect(plugin.commands.filter((command) => command.endsWith("unwatch"))).toHaveLength(1);
});

test("a watch that could not begin says why to all who did not stop it, and may be tried again", async () => {
  const plugin = fakePlugin();
  const [told, alsoTold] = [deferred<Error>(), deferred<Error>()];
  const untold = vi.fn();
  const backend = sidecar(plugin.name);
  backend.watch(() => {}, told.resolve);
  backend.watch(() => {}, alsoTold.resolve);
  backend.watch(() => {}, untold)();

  plugin.streams[0]?.answer.reject(plugin.failure("unknownSidecar"));

  expect(await told.promise).toBeInstanceOf(SidecarError);
  expect(await alsoTold.promise).toMatchObject({ kind: "unknownSidecar" });
  expect(untold).not.toHaveBeenCalled();
  expect(plugin.commands).toEqual([WATCH]);

  const seen = vi.fn();
  backend.watch(seen);
  plugin.say("ready");
  expect(seen).toHaveBeenCalledOnce();
});

test("what a sidecar writes is delivered until the stream is ended, and then no more", async () => {
  const plugin = fakePlugin();
  const seen: Log[] = [];
  const end = sidecar(plugin.name).logs((log) => seen.push(log));

  plugin.send({ kind: "stdout", lines: ["one", "two"] });
  plugin.send({ kind: "missed", events: 3 });
  end();
  plugin.send({ kind: "stderr", lines: ["three"] });
  plugin.streams[0]?.answer.resolve(7);

  expect(seen).toEqual([
    { kind: "stdout", lines: ["one", "two"] },
    { kind: "missed", events: 3 },
  ]);
  expect(await plugin.unwatched).toBe(7);
});

test("a window that may not read what a sidecar writes is told why", async () => {
  const plugin = fakePlugin();
  const failed = deferred<Error>();
  sidecar(plugin.name).logs(() => {}, failed.resolve);

  plugin.streams[0]?.answer.reject("pillion.logs not allowed");

  expect((await failed.promise).message).toContain("not allowed");
});
