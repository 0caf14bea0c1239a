// @vitest-environment node
import { expect, test, vi } from "vitest";
import type { Log } from "../bindings.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page) as typeof addEventListener;

/** The webview shows the page again, after another one. */
async function restore(): Promise<void> {
  page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  // The page acts in a later task.
  await new Promise((resolve) => setTimeout(resolve));
}

/** The answer to this command is lost. */
function loseAnswers(lost: string) {
  const { __TAURI_INTERNALS__: internals } = window as unknown as {
    __TAURI_INTERNALS__: { invoke(command: string, args: unknown): Promise<unknown> };
  };
  const { invoke } = internals;
  const sent = deferred();
  internals.invoke = (command, args) => {
    if (command !== `plugin:pillion|${lost}`) return invoke(command, args);
    sent.resolve();
    return new Promise(() => {});
  };
  return { sent: sent.promise, stop: () => Object.assign(internals, { invoke }) };
}

test("a page that the webview shows again watches again", async () => {
  const plugin = fakePlugin();
  const seen: string[] = [];
  const onError = vi.fn();
  const unlisten = sidecar(plugin.name).watch(({ state }) => seen.push(state), onError);
  plugin.subscriptions[0]?.response.resolve(1);
  plugin.sendStatus("ready");

  await restore();
  expect(plugin.subscriptions).toHaveLength(2);
  plugin.subscriptions[1]?.response.resolve(2);
  plugin.sendStatus("failed");
  unlisten();

  expect(seen).toEqual(["ready", "failed"]);
  expect(await plugin.unwatched).toBe(2);
  await restore();
  expect(plugin.subscriptions).toHaveLength(2);
  expect(onError).not.toHaveBeenCalled();
});

test("a page that is loaded begins no second subscription", async () => {
  const plugin = fakePlugin();
  const unlisten = sidecar(plugin.name).watch(() => {});
  page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  await new Promise((resolve) => setTimeout(resolve));
  expect(plugin.subscriptions).toHaveLength(1);
  // The subscriptions that are left begin again in the tests that follow.
  unlisten();
});

test("requests of a page that is shown again reach the run of that time", async () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  const [first, second] = [
    await backend((_, response) => void response.end("first")),
    await backend((_, response) => void response.end("second")),
  ];
  const early = handle.fetch("/");
  plugin.ready(first, 1);
  expect(await (await early).text()).toBe("first");
  await first.crash();

  await restore();
  expect(plugin.subscriptions).toHaveLength(2);
  plugin.ready(second, 2);
  expect(await (await handle.fetch("/")).text()).toBe("second");
});

test("each line of output comes once, and the page learns how many are missing", async () => {
  const plugin = fakePlugin();
  const seen: unknown[] = [];
  const onLog = (log: Log) => seen.push(log.kind === "lines" ? log.entries.map(({ seq }) => seq) : log);
  sidecar(plugin.name).logs({ tail: 2, levels: true }, onLog);
  const send = (...seqs: number[]) =>
    plugin.send({
      kind: "lines",
      entries: seqs.map((seq) => ({ seq, at: 1, run: 1, stream: "stdout", level: null, text: "" })),
    });
  send(4, 5);
  await restore();
  send(3, 4, 5, 6);
  send(7);
  await restore();
  send(5, 6);
  send(7);
  await restore();
  send(10, 11);
  send(13);

  expect(plugin.queries[0]).toMatchObject({ tail: 2, levels: true });
  expect(plugin.queries[1]).toEqual({ tail: undefined, since: undefined, levels: true });
  expect(seen).toEqual([[4, 5], [6], [7], { kind: "missed", lines: 2 }, [10, 11], [13]]);
});

test("a page that is shown again asks for the lease that it needs", async () => {
  const plugin = fakePlugin({ onDemand: true });
  const handle = sidecar(plugin.name);
  const server = await backend((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 1\n\n");
  });
  const events = handle.events("/");
  const first = events.next();
  plugin.ready(server, 1);
  expect((await first).value).toMatchObject({ data: "1" });
  expect(plugin.leases).toHaveLength(1);

  await restore();
  await expect.poll(() => plugin.leases.length).toBe(2);
  await events.return();
  await plugin.leases[1]?.ended.promise;
});

test("a question whose answer is lost is asked again, and an order is not given again", async () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  // The subscriptions of the tests before begin again as well.
  const sent = () => plugin.commands.filter((command) => /status|restart/.test(command));
  const question = loseAnswers("status");
  // The fake answers it with nothing.
  const asked = handle.status().catch((error) => error);
  await question.sent;
  question.stop();
  await restore();
  await asked;
  expect(sent()).toEqual(["plugin:pillion|status"]);

  const order = loseAnswers("restart");
  const ordered = handle.restart().catch((error) => error);
  await order.sent;
  order.stop();
  await restore();
  expect(await ordered).toBeInstanceOf(TypeError);
  expect(sent()).toEqual(["plugin:pillion|status"]);
});
