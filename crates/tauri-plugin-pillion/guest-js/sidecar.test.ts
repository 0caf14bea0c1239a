import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import type { Failure, Status } from "./bindings.js";
import { isFailure, SidecarError, toError } from "./error.js";
import { sidecar } from "./sidecar.js";

const failure: Failure = {
  kind: "exitedEarly",
  message: "backend exited with code 3 before it was ready",
  detail: { sidecar: "backend", exit: { code: 3, signal: null }, tail: ["no such table: users"] },
};

function status(seq: number, state: Status["state"] = "ready"): Status {
  const at = 1_700_000_000_000 + seq;
  return {
    sidecar: "backend",
    seq,
    at,
    state,
    pid: 7,
    port: 4242,
    url: null,
    version: null,
    reason: null,
    failure: null,
    exit: null,
  };
}

/** `Promise.withResolvers`, which Node 20 does not have. */
function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** Stands in for the Rust side: keeps the watch's channel, and answers the command when the test says so. */
function fakePlugin() {
  const answer = deferred<number>();
  const unwatched = deferred<unknown>();
  const commands: string[] = [];
  let channel: { id: number } | undefined;
  let index = 0;
  mockIPC((command, payload) => {
    commands.push(command);
    const args = payload as Record<string, unknown>;
    if (command === "plugin:pillion|watch") {
      channel = args.channel as { id: number };
      return answer.promise;
    }
    if (command === "plugin:pillion|unwatch") unwatched.resolve(args.id);
    return undefined;
  });
  const send = (message: Status) => {
    if (!channel) throw new Error("nothing is watching");
    // The form in which Tauri delivers channel messages to the page.
    const internals = window as unknown as {
      __TAURI_INTERNALS__: { runCallback(id: number, data: unknown): void };
    };
    internals.__TAURI_INTERNALS__.runCallback(channel.id, { index: index++, message });
  };
  return { answer, unwatched: unwatched.promise, commands, send };
}

afterEach(() => clearMocks());

test("a watch delivers the snapshot and then each change, even before the command has answered", () => {
  const plugin = fakePlugin();
  const seen: number[] = [];
  sidecar("backend").watch((status) => seen.push(status.seq));

  plugin.send(status(5));
  plugin.send(status(6));

  expect(seen).toEqual([5, 6]);
});

test("a change that the snapshot already held is not delivered twice", () => {
  const plugin = fakePlugin();
  const seen: number[] = [];
  sidecar("backend").watch((status) => seen.push(status.seq));

  for (const seq of [5, 4, 5, 6]) plugin.send(status(seq));

  expect(seen).toEqual([5, 6]);
});

test("stopping before the watch command has answered still ends it, once the id is known", async () => {
  const plugin = fakePlugin();
  const onStatus = vi.fn();
  const stop = sidecar("backend").watch(onStatus);

  stop();
  plugin.send(status(1));
  expect(plugin.commands).toEqual(["plugin:pillion|watch"]);

  plugin.answer.resolve(17);
  expect(await plugin.unwatched).toBe(17);
  plugin.send(status(2));
  expect(onStatus).not.toHaveBeenCalled();
});

test("stopping from inside the callback is the last callback, and stopping twice ends once", async () => {
  const plugin = fakePlugin();
  const seen: number[] = [];
  const stop = sidecar("backend").watch((status) => {
    seen.push(status.seq);
    stop();
    stop();
  });
  plugin.answer.resolve(3);

  plugin.send(status(1));
  plugin.send(status(2));

  expect(await plugin.unwatched).toBe(3);
  expect(seen).toEqual([1]);
  expect(plugin.commands.filter((command) => command.endsWith("unwatch"))).toHaveLength(1);
});

test("a watch that could not begin says why, unless it was stopped first", async () => {
  const plugin = fakePlugin();
  const told = deferred<Error>();
  const untold = vi.fn();
  sidecar("backend").watch(() => {}, told.resolve);
  sidecar("backend").watch(() => {}, untold)();

  plugin.answer.reject(failure);

  const error = await told.promise;
  expect(error).toBeInstanceOf(SidecarError);
  expect(untold).not.toHaveBeenCalled();
  expect(plugin.commands).not.toContain("plugin:pillion|unwatch");
});

test("ready, status and restart name the sidecar and hand back what Rust answered", async () => {
  const calls: unknown[] = [];
  mockIPC((command, payload) => {
    calls.push([command, payload]);
    return { sidecar: "backend", port: 4242 };
  });
  const backend = sidecar("backend");

  expect(await backend.ready()).toMatchObject({ port: 4242 });
  await backend.status();
  await backend.restart();

  const args = { sidecar: "backend" };
  expect(calls).toEqual([
    ["plugin:pillion|ready", args],
    ["plugin:pillion|status", args],
    ["plugin:pillion|restart", args],
  ]);
});

test("a Failure arrives as a SidecarError that keeps kind, exit and output", async () => {
  mockIPC(() => {
    throw failure;
  });

  const error = await sidecar("backend")
    .ready()
    .catch((error: unknown) => error);

  expect(error).toBeInstanceOf(SidecarError);
  expect(error).toMatchObject({ kind: "exitedEarly", message: failure.message, detail: failure.detail });
  expect((error as SidecarError).failure).toEqual(failure);
});

test("other rejections become plain errors that keep their text", () => {
  const refused = toError("plugin:pillion|ready not allowed");
  expect(refused).not.toBeInstanceOf(SidecarError);
  expect(refused.message).toBe("plugin:pillion|ready not allowed");
  expect(toError({ odd: true }).message).toBe('{"odd":true}');
  expect(isFailure({ kind: "spawn", message: "x", detail: null })).toBe(false);
  expect(isFailure(null)).toBe(false);
});
