// @vitest-environment node
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { isA } from "../kind.js";

test("a value of another window is of its type, and no other value is", () => {
  const buffer: unknown = runInNewContext("new ArrayBuffer(4)");
  expect(buffer instanceof ArrayBuffer).toBe(false);
  expect(isA("ArrayBuffer", buffer)).toBe(true);
  expect(isA("Uint8Array", runInNewContext("new Uint8Array(4)"))).toBe(true);
  expect(isA("Blob", new File([], "a"))).toBe(true);
  for (const other of [null, undefined, "Blob", {}, [], new Uint16Array(4), new URLSearchParams()]) {
    for (const kind of [
      "ArrayBuffer",
      "Blob",
      "FormData",
      "ReadableStream",
      "Request",
      "Uint8Array",
    ] as const) {
      expect(isA(kind, other)).toBe(false);
    }
  }
});
