import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BackendClient } from "../src/lib/api";
import { Backend } from "../src/lib/backend";
import { prerender } from "../src/prerender";
import { deferred, FakeHost, health, hostWith, status } from "./fixtures";

let host: FakeHost;
let backend: Backend;
let root: HTMLElement;
let stop: () => void;

beforeEach(() => {
  host = new FakeHost();
  backend = new Backend(host, new BackendClient(hostWith(async () => Response.json(health()))));
  stop = backend.start();
  root = document.createElement("div");
  root.id = "root";
  root.innerHTML = prerender();
  document.body.replaceChildren(root);
});

afterEach(() => {
  stop();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.doUnmock("../src/session");
  vi.doUnmock("../src/mount");
});

/** Runs the script of the page, with this module instead of mount.tsx. */
async function run(mount: () => object): Promise<void> {
  vi.resetModules();
  vi.doMock("../src/session", () => ({ backend, isAlone: false }));
  vi.doMock("../src/mount", mount);
  await import("../src/main");
}

test("React takes over in a window that is hidden, and gets no frame", async () => {
  vi.stubGlobal("requestAnimationFrame", () => 0);
  const mounted = deferred<unknown[]>();
  await run(() => ({ mount: (...args: unknown[]) => mounted.resolve(args) }));
  expect(await mounted.promise).toEqual([root, backend]);
});

test("the script may run before the page is parsed", async () => {
  root.remove();
  const state = vi.spyOn(document, "readyState", "get").mockReturnValue("loading");
  const mounted = deferred<unknown[]>();
  await run(() => ({ mount: (...args: unknown[]) => mounted.resolve(args) }));
  document.body.append(root);
  state.mockRestore();
  document.dispatchEvent(new Event("DOMContentLoaded"));
  expect(await mounted.promise).toEqual([root, backend]);
});

test("without React the page says so in the console, and still shows the connection", async () => {
  const reported = deferred<unknown[]>();
  vi.spyOn(console, "error").mockImplementation((...args) => reported.resolve(args));
  await run(() => {
    throw new Error("no such file");
  });
  const [message, error] = await reported.promise;
  expect(message).toContain("React cannot be loaded");
  expect(error).toBeInstanceOf(Error);

  const connected = deferred<void>();
  backend.subscribe(() => {
    if (backend.view().connection.state === "connected") connected.resolve();
  });
  host.send(status("ready", { port: 4242, pid: 77 }));
  await connected.promise;
  expect(root.querySelector("[data-testid=backend-label]")?.textContent).toBe("Backend connected");
});
