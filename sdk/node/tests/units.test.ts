import type { Stats } from "node:fs";
import { expect, onTestFinished, test, vi } from "vitest";
import { hideToken, originForm } from "../src/admission.js";
import { tokenOffset } from "../src/environ-block.js";
import { readEnvironment } from "../src/environment.js";
import { forbidden } from "../src/ports.js";
import { isPipe } from "../src/stop.js";
import { withSubprotocol } from "../src/websocket.js";

test("the token is found in the environment block by the whole name of its variable", () => {
  const digits = "a".repeat(64);
  const block = Buffer.from(
    `A=PILLION_TOKEN=${digits}\0MY_PILLION_TOKEN=${digits}\0PILLION_TOKEN=${digits}\0B=\0`,
  );
  const found = tokenOffset(block) ?? 0;
  expect(block.toString("latin1", 0, found).endsWith("\0PILLION_TOKEN=")).toBe(true);
  expect(block.toString("latin1", found, found + 64)).toBe(digits);
  for (const other of ["", "PILLION_TOKEN", "PILLION_TOKEN=\0", "PILLION_TOKEN=short\0"]) {
    expect(tokenOffset(Buffer.from(other))).toBeUndefined();
  }
});

test("handlers see neither the token nor a subprotocol that contains it", () => {
  const { rawHeaders, choose } = hideToken(
    [
      "A",
      "1",
      "authorization",
      "Bearer x",
      "Sec-WebSocket-Protocol",
      "pillion, a pillion.bearer.x, chat",
      "B",
      "2",
    ],
    true,
  );
  expect(rawHeaders).toEqual(["A", "1", "Sec-WebSocket-Protocol", "chat", "B", "2"]);
  expect(choose).toBe(true);
});

test("without a token, Authorization belongs to the handler", () => {
  expect(hideToken(["Authorization", "Basic x"], false).rawHeaders).toEqual(["Authorization", "Basic x"]);
});

test("a target in absolute form becomes one in origin form", () => {
  expect(originForm("http://127.0.0.1:1/a?b")).toBe("/a?b");
  expect(originForm("http://127.0.0.1:1?b")).toBe("/?b");
  for (const same of ["/a?b=http://c/d", "*", "//a/b"]) expect(originForm(same)).toBe(same);
});

test("only a 101 without a subprotocol gets one", () => {
  const add = (head: string, rest = "") => {
    const bytes = Buffer.from(`${head}\r\n\r\n${rest}`, "latin1");
    return withSubprotocol(bytes, bytes.indexOf("\r\n\r\n")).toString("latin1");
  };
  expect(add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket", "\x81")).toBe(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: pillion\r\n\r\n\x81",
  );
  expect(add("HTTP/1.1 101 OK\r\nsec-websocket-protocol: chat")).not.toContain("pillion");
  expect(add("HTTP/1.1 400 Bad Request")).not.toContain("pillion");
});

test("an error never contains a value that may be part of the token", () => {
  expect(() => readEnvironment({ PILLION_TOKEN: "0123" }, 1)).toThrow(/^PILLION_TOKEN is not 64/);
  expect(() => readEnvironment({ PILLION_ALLOWED_ORIGINS: "tauri://localhost,*" }, 1)).toThrow(/lists "\*"/);
});

test("Windows protects no low ports", () => {
  expect(forbidden(8080, "win32")).toContain("excludedportrange");
  expect(forbidden(80, "linux")).toContain("1024 or above");
});

function stats(mode: number, isSocket = false): Pick<Stats, "mode" | "isSocket"> {
  return { mode, isSocket: () => isSocket };
}

test("a pipe is a lifeline on Windows, where `isFIFO` is false for every file", () => {
  // As Node 22 for Windows returns them for a pipe, NUL and a file.
  expect(isPipe(stats(0o010000))).toBe(true);
  expect(isPipe(stats(0o020666))).toBe(false);
  expect(isPipe(stats(0o100666))).toBe(false);
  expect(isPipe(stats(0o140777, true))).toBe(true);
});

test("a pipe is a lifeline where Node has no constant for the type", async () => {
  onTestFinished(() => vi.doUnmock("node:fs"));
  vi.resetModules();
  vi.doMock("node:fs", async (original) => ({ ...(await original<object>()), constants: {} }));
  const older = await import("../src/stop.js");
  expect(older.isPipe(stats(0o010000))).toBe(true);
  expect(older.isPipe(stats(0o100666))).toBe(false);
});
