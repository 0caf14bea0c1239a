import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import { currentHost } from "../src/lib/tauri";

afterEach(() => {
  clearMocks();
  vi.unstubAllGlobals();
});

test("inside the app the host is the sidecar called backend", async () => {
  vi.stubGlobal("isTauri", true);
  const calls: unknown[] = [];
  mockIPC((command, payload) => {
    calls.push([command, (payload as { sidecar?: string }).sidecar]);
    return 1;
  });

  await currentHost().restart();
  currentHost().watch(
    () => {},
    () => {},
  );
  currentHost().preconnect();

  expect(calls).toEqual([
    ["plugin:pillion|restart", "backend"],
    ["plugin:pillion|watch", "backend"],
    ["plugin:pillion|connect", "backend"],
  ]);
});

test("in a plain browser every call fails with an explanation", async () => {
  const host = currentHost();
  const onError = vi.fn();

  host.watch(() => {}, onError)();

  await expect(host.fetch("/health")).rejects.toThrow("outside the AIOS app");
  expect(host.preconnect()).toBeUndefined();
  await expect(host.restart()).rejects.toThrow("outside the AIOS app");
  expect(onError).toHaveBeenCalledOnce();
});
