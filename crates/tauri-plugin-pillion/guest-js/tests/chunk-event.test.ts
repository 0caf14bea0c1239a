import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readChunk } from "../chunk-event.js";
import { rejection } from "./http-proxy.js";

const page = globalThis as { __TAURI_INTERNALS__?: unknown };
const bytes = (...values: number[]) => Uint8Array.from(values);

/** What the page asked for. */
let asked: Record<string, unknown>[] = [];

/** Answers the calls of the page, as the app. */
function answer(answer: (args: { event?: string }) => unknown): void {
  page.__TAURI_INTERNALS__ = {
    invoke: async (_: string, args: Record<string, unknown>) => {
      asked.push(args);
      return answer(args);
    },
  };
}

function dispatch(event: string | undefined, text: string): null {
  window.dispatchEvent(new CustomEvent(`pillion-chunk-${event}`, { detail: btoa(text) }));
  return null;
}

beforeEach(() => {
  asked = [];
  const value = (text: string) => Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  Object.defineProperty(Uint8Array, "fromBase64", { configurable: true, value });
});

afterEach(() => {
  delete page.__TAURI_INTERNALS__;
  Reflect.deleteProperty(Uint8Array, "fromBase64");
  vi.unstubAllGlobals();
});

test("a large chunk arrives as an event, each with a name of its own", async () => {
  answer(({ event }) => dispatch(event, "ab"));
  expect(await readChunk(1, 2, true)).toEqual(bytes(97, 98));
  await readChunk(1, 3, true);
  expect(asked).toMatchObject([
    { id: 1, place: 2 },
    { id: 1, place: 3 },
  ]);
  const [first, second] = asked.map(({ event }) => event);
  expect(first).not.toBe(second);
  expect(String(first).length).toBeGreaterThan(16);
});

test("the app may answer with the bytes instead", async () => {
  answer(() => bytes(1, 2).buffer);
  expect(await readChunk(1, 0, true)).toEqual(bytes(1, 2));
  answer(() => []);
  expect(await readChunk(1, 0, true)).toEqual(bytes());
});

test("a chunk that does not arrive is an error, and not the end of the body", async () => {
  answer(() => null);
  expect(await rejection(readChunk(1, 0, true))).toMatchObject({
    message: expect.stringContaining("did not arrive"),
  });
});

test("nothing listens after the answer", async () => {
  const added = vi.spyOn(window, "addEventListener");
  const removed = vi.spyOn(window, "removeEventListener");
  answer(() => Promise.reject("gone"));
  await rejection(readChunk(1, 0, true));
  expect(removed.mock.calls.map(([type]) => type)).toEqual(added.mock.calls.map(([type]) => type));
  expect(added).toHaveBeenCalledOnce();
});

test.each(["small chunks", "a webview without fromBase64", "a frame within the page"])(
  "no event is asked for: %s",
  async (why) => {
    answer(() => bytes(1).buffer);
    if (why === "a webview without fromBase64") Reflect.deleteProperty(Uint8Array, "fromBase64");
    if (why === "a frame within the page") vi.stubGlobal("top", {});
    expect(await readChunk(1, 0, why !== "small chunks")).toEqual(bytes(1));
    expect(asked).toEqual([{ id: 1, place: 0 }]);
  },
);
