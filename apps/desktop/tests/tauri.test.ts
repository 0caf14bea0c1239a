import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import { currentHost } from "../src/lib/tauri";

afterEach(() => {
  clearMocks();
  vi.unstubAllGlobals();
});

test("inside the app the host is the sidecar called backend", async () => {
  vi.stubGlobal("isTauri", true);
  const asked: unknown[] = [];
  mockIPC((command, payload) => {
    asked.push([command, (payload as { sidecar?: string }).sidecar]);
    return 1;
  });

  await currentHost().restart();
  currentHost().watch(
    () => {},
    () => {},
  );
  currentHost().preconnect();

  expect(asked).toEqual([
    ["plugin:pillion|restart", "backend"],
    ["plugin:pillion|watch", "backend"],
    ["plugin:pillion|connect", "backend"],
  ]);
});

test("in a plain browser everything fails in words", async () => {
  const host = currentHost();
  const onError = vi.fn();

  host.watch(() => {}, onError)();

  await expect(host.fetch("/health")).rejects.toThrow("outside the AIOS app");
  expect(host.preconnect()).toBeUndefined();
  await expect(host.restart()).rejects.toThrow("outside the AIOS app");
  expect(onError).toHaveBeenCalledOnce();
});
