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
