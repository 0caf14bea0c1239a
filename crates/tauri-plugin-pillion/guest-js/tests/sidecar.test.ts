// @vitest-environment node
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { beforeEach, expect, test, vi } from "vitest";
import type { Failure } from "../bindings.js";
import { isFailure, SidecarError, toError } from "../error.js";
import { sidecar, sidecars } from "../sidecar.js";

const failure: Failure = {
  kind: "exitedEarly",
  message: "backend exited with code 3 before it was ready",
  detail: { sidecar: "backend", exit: { code: 3, signal: null }, tail: ["no such table: users"] },
};

beforeEach(() => {
  vi.stubGlobal("window", globalThis);
  return () => {
    clearMocks();
    vi.unstubAllGlobals();
  };
});

test("ready, status, restart and swap name the sidecar and resolve with the plugin's response", async () => {
  const calls: unknown[] = [];
  mockIPC((command, payload) => {
    calls.push([command, payload]);
    return { sidecar: "backend", port: 4242 };
  });
  const backend = sidecar("backend");

  expect(await backend.ready()).toMatchObject({ port: 4242 });
  await backend.status();
  await backend.restart();
  await backend.swap();

  const args = { sidecar: "backend" };
  expect(calls).toEqual([
    ["plugin:pillion|ready", args],
    ["plugin:pillion|status", args],
    ["plugin:pillion|restart", args],
    ["plugin:pillion|swap", args],
  ]);
});

test("exitReports names the sidecar and resolves with the reports in words", async () => {
  const calls: unknown[] = [];
  mockIPC((command, payload) => {
    calls.push([command, payload]);
    return [{ sidecar: "backend", run: 1, reason: "crashed", summary: "backend was killed by SIGSEGV" }];
  });

  const reports = await sidecar("backend").exitReports();

  expect(calls).toEqual([["plugin:pillion|exit_reports", { sidecar: "backend" }]]);
  expect(reports.at(-1)?.summary).toBe("backend was killed by SIGSEGV");
});

test("diagnose resolves with the zip file, also where the webview receives numbers instead of bytes", async () => {
  const calls: unknown[] = [];
  const bytes = [80, 75, 3, 4];
  for (const response of [new Uint8Array(bytes).buffer, bytes]) {
    mockIPC((command) => {
      calls.push(command);
      return response;
    });

    const report = await sidecars.diagnose();

    expect(report.type).toBe("application/zip");
    expect([...new Uint8Array(await report.arrayBuffer())]).toEqual(bytes);
  }
  expect(calls).toEqual(["plugin:pillion|diagnose", "plugin:pillion|diagnose"]);
});

test("a Failure rejects as a SidecarError with kind, exit and output", async () => {
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

test("other rejections become plain errors with the same text", () => {
  const denied = toError("plugin:pillion|ready not allowed");
  expect(denied).not.toBeInstanceOf(SidecarError);
  expect(denied.message).toBe("plugin:pillion|ready not allowed");
  expect(toError({ unexpected: true }).message).toBe('{"unexpected":true}');
  expect(isFailure({ kind: "spawn", message: "x", detail: null })).toBe(false);
  expect(isFailure(null)).toBe(false);
});
