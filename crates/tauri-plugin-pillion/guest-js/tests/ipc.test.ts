import { afterEach, expect, test } from "vitest";
import { call } from "../ipc.js";

const page = globalThis as { __TAURI_INTERNALS__?: unknown };

afterEach(() => {
  delete page.__TAURI_INTERNALS__;
});

test("a call does not replace the callback of another call that has the same id", async () => {
  const ids = [1, 2, 1, 3, 2, 4, 5];
  const callbacks = new Map<number, (value: unknown) => void>();
  const sent: [command: string, callback: number][] = [];
  // As in Tauri's core.js.
  const register = (callback: (value: unknown) => void) => {
    const id = ids.shift() ?? 0;
    callbacks.set(id, callback);
    return id;
  };
  const invoke = (command: string) =>
    new Promise((resolve, reject) => {
      const callback = register(resolve);
      register(reject);
      sent.push([command, callback]);
    });
  page.__TAURI_INTERNALS__ = { callbacks, invoke };

  const calls = [call("first", {}), call("second", {})];
  await expect.poll(() => sent.length).toBe(2);
  for (const [command, callback] of sent) callbacks.get(callback)?.(command);
  expect(await Promise.all(calls)).toEqual(["plugin:pillion|first", "plugin:pillion|second"]);
});

test("Tauri's second attempt at a call repeats no effect", async () => {
  type Send = (args: unknown) => Promise<unknown>;
  /** As in Tauri's ipc-protocol.js: bytes are sent as they are, everything else and every later attempt as JSON. */
  const read = (args: unknown) => (args instanceof Uint8Array ? [...args] : JSON.parse(JSON.stringify(args)));
  const again = (args: unknown) => JSON.parse(JSON.stringify({ payload: args })).payload;
  const sent: unknown[] = [];
  let send: Send = async (args) => void sent.push(read(args));
  page.__TAURI_INTERNALS__ = { invoke: (_: string, args: unknown) => send(args) };
  const breaks: Send = async (args) => {
    sent.push(read(args));
    await Promise.resolve();
    sent.push(again(args));
    throw "invalid arguments";
  };
  const bytes = Uint8Array.of(1, 2);
  await call("status", { sidecar: "a" });
  sent.length = 0;

  send = breaks;
  await expect(call("request", bytes)).rejects.toThrow("lost the app's answer to request");
  await expect(call("read", { id: 1 })).rejects.toBeInstanceOf(TypeError);
  await expect(call("restart", { sidecar: "a" })).rejects.toBeInstanceOf(TypeError);
  expect(sent).toEqual([[1, 2], [], { id: 1 }, {}, { sidecar: "a" }, {}]);

  // Once the other way is the usual one, the first attempt is JSON.
  sent.length = 0;
  send = async (args) => void sent.push(again(args));
  await call("write", Uint8Array.of(3));
  expect(sent).toEqual([[3]]);
});
