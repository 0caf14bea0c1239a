import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import { currentHost, SidecarError } from "../src/lib/tauri";
import { failure } from "./fixtures";

afterEach(() => {
  clearMocks();
  vi.unstubAllGlobals();
});

test("inside the app the port is asked of get_backend_port, and a failure comes back as a SidecarError", async () => {
  vi.stubGlobal("isTauri", true);
  const answers = [() => 4242, () => Promise.reject(failure)];
  const commands: string[] = [];
  mockIPC((command) => {
    commands.push(command);
    return answers.shift()?.();
  });

  expect(await currentHost().backendPort()).toBe(4242);
  const error = await currentHost()
    .backendPort()
    .catch((error: unknown) => error);

  expect(error).toBeInstanceOf(SidecarError);
  expect((error as SidecarError).failure).toEqual(failure);
  expect(commands).toEqual(["get_backend_port", "get_backend_port"]);
});

test("restart and watch are about the sidecar called backend", async () => {
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

  expect(asked).toEqual([
    ["plugin:pillion|restart", "backend"],
    ["plugin:pillion|watch", "backend"],
  ]);
});

test("in a plain browser everything fails in words", async () => {
  const host = currentHost();
  const onError = vi.fn();

  host.watch(() => {}, onError)();

  await expect(host.backendPort()).rejects.toThrow("outside the AIOS app");
  await expect(host.restart()).rejects.toThrow("outside the AIOS app");
  expect(onError).toHaveBeenCalledOnce();
});
