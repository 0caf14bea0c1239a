// @vitest-environment node
import { expect, test, vi } from "vitest";
import type { Access, Status } from "../bindings.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

const [FIRST, SECOND] = ["1a".repeat(32), "2b".repeat(32)] as [string, string];

const [WATCH, CONNECT] = ["plugin:pillion|watch", "plugin:pillion|connect"];

type Plugin = ReturnType<typeof fakePlugin>;

/** Leaves this in the page, as src/page_start.rs does, and returns the object that holds it. */
function tell({ name }: Plugin, status: Status, access: Access | null) {
  const { __TAURI_INTERNALS__: internals } = globalThis as unknown as {
    __TAURI_INTERNALS__: { plugins?: { pillion?: { at: number; sidecars: Record<string, object> } } };
  };
  internals.plugins = { pillion: { at: performance.now(), sidecars: { [name]: { status, access } } } };
  return internals.plugins;
}

/** A status of a run that serves, and what a request to it needs. */
function running(plugin: Plugin, { url, port }: { url: string; port: number }, pid: number, token: string) {
  const status: Status = { ...plugin.status("ready"), url, port, pid };
  return [status, { url, pid, token }] as const;
}

/** A backend that answers with the `Authorization` of the request. */
const echo = (port?: number) =>
  backend((request, response) => void response.end(request.headers.authorization), port);

test("a page that was told of a run calls it before the app answers anything, and removes what it was told", async () => {
  const plugin = fakePlugin();
  const plugins = tell(plugin, ...running(plugin, await echo(), 1, FIRST));
  const handle = sidecar(plugin.name);
  expect(plugins).toEqual({});
  expect(plugin.commands).toEqual([]);

  expect(await (await handle.fetch("/")).text()).toBe(`Bearer ${FIRST}`);
  expect(plugin.commands).toEqual([WATCH]);
});

test("a listener receives the status that the page was told, once, and then newer ones", async () => {
  const plugin = fakePlugin();
  const told = plugin.status("starting");
  tell(plugin, told, null);
  const seen: string[] = [];
  const first = deferred();
  sidecar(plugin.name).watch(({ state }) => {
    seen.push(state);
    first.resolve();
  });
  expect(seen).toEqual([]);
  await first.promise;

  plugin.send(told);
  plugin.sendStatus("ready");
  expect(seen).toEqual(["starting", "ready"]);
});

test("a run that died after the page was told of it is replaced by the next one", async () => {
  const plugin = fakePlugin();
  const gone = await echo();
  tell(plugin, ...running(plugin, gone, 1, FIRST));
  await gone.crash();
  const next = await echo(gone.port);
  const answer = sidecar(plugin.name).fetch("/");
  plugin.sendStatus("backingOff");
  plugin.readyWithToken(SECOND, next, 2);

  expect(await (await answer).text()).toBe(`Bearer ${SECOND}`);
  expect(plugin.commands).toEqual([WATCH, CONNECT]);
});

test("a page that was told only the status asks for the token", async () => {
  const plugin = fakePlugin();
  const server = await echo();
  tell(plugin, running(plugin, server, 1, FIRST)[0], null);
  const answer = sidecar(plugin.name).fetch("/");
  plugin.setAccess({ url: server.url, pid: 1, token: SECOND });
  expect(await (await answer).text()).toBe(`Bearer ${SECOND}`);
  expect(plugin.commands).toEqual([WATCH, CONNECT]);
});

test("a status that the page was told long ago is not taken for the present one", async () => {
  const plugin = fakePlugin();
  tell(plugin, ...running(plugin, await echo(), 1, FIRST));
  const now = vi.spyOn(performance, "now").mockReturnValue(performance.now() + 60_000);
  const handle = sidecar(plugin.name);
  const seen: string[] = [];
  handle.watch(({ state }) => seen.push(state));
  now.mockRestore();
  await Promise.resolve();
  expect(seen).toEqual([]);
  plugin.sendStatus("stopped");
  expect(seen).toEqual(["stopped"]);
});

test("what no handle has taken when the page has loaded is forgotten", async () => {
  const listeners: (() => void)[] = [];
  vi.stubGlobal("addEventListener", (name: string, listener: () => void) => {
    if (name === "load") listeners.push(listener);
  });
  const plugin = fakePlugin();
  const other = `${plugin.name}-other`;
  const told = { status: { ...plugin.status("starting"), sidecar: other }, access: null };
  Object.assign(tell(plugin, plugin.status("starting"), null).pillion?.sidecars ?? {}, { [other]: told });
  sidecar(plugin.name);
  for (const listener of listeners) listener();
  const seen: string[] = [];
  sidecar(other).watch(({ state }) => seen.push(state));
  await Promise.resolve();
  expect(listeners).toHaveLength(1);
  expect(seen).toEqual([]);
});
