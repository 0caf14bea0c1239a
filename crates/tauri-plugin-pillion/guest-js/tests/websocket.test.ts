// @vitest-environment node
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { sidecar } from "../sidecar.js";
import type { WebSocketOptions } from "../websocket.js";
import { type Backend, backend, deferred, fakePlugin as fakeApp } from "./plugin.js";
import { proxyWebSockets } from "./web-socket-proxy.js";

// Node 20 has no WebSocket of its own; this one has the interface of a browser's.
beforeEach(() => void vi.stubGlobal("WebSocket", WebSocket));

/** Records entries in order, and lets the test wait for one. */
function journal() {
  const entries: string[] = [];
  const waiting: { wanted: string; resolve: () => void }[] = [];
  return {
    entries,
    write(entry: string) {
      entries.push(entry);
      for (const { wanted, resolve } of waiting) if (wanted === entry) resolve();
    },
    /** Resolves when `wanted` has been written `times` times. */
    async until(wanted: string, times = 1) {
      while (entries.filter((entry) => entry === wanted).length < times) {
        const { promise, resolve } = deferred();
        waiting.push({ wanted, resolve });
        await promise;
      }
    },
  };
}

/** A backend that greets each client, and echoes each message. */
async function echo(greeting: string) {
  const server = await backend((_, response) => void response.writeHead(426).end());
  const sockets = new WebSocketServer({ server: server.server, path: "/live" });
  sockets.on("connection", (socket) => {
    socket.send(greeting);
    socket.on("message", (data) => socket.send(`echo ${String(data)}`));
  });
  return Object.assign(server, { sockets });
}

function open(name: string, options: WebSocketOptions = {}) {
  const { entries, write, until } = journal();
  const socket = sidecar(name).webSocket("/live", {
    onOpen: () => write("open"),
    onMessage: (data) => write(String(data)),
    onClose: ({ code }) => write(`close ${code}`),
    ...options,
  });
  onTestFinished(() => socket.close());
  return { socket, entries, until };
}

describe.each(["with a port", "without a port"])("to a sidecar %s", (kind) => {
  /** A plugin whose sidecar has a port or not. */
  function fakePlugin() {
    const plugin = fakeApp();
    if (kind === "with a port") return plugin;
    const proxy = proxyWebSockets();
    const ready = (server: Backend, pid: number) => {
      proxy.connectTo(server);
      plugin.sendStatus("ready", { url: "pillion://localhost", pid });
    };
    return { ...plugin, ready };
  }

  test("a WebSocket waits for the sidecar, and opens again on the next run", async () => {
    const plugin = fakePlugin();
    const { socket, entries, until } = open(plugin.name);
    expect(socket.isOpen).toBe(false);
    const first = await echo("first");
    plugin.ready(first, 1);
    await until("first");
    socket.send("a");
    await until("echo a");

    await first.crash();
    plugin.sendStatus("backingOff", { failure: plugin.failure("crashed") });
    await until("close 1006");
    expect(socket.isOpen).toBe(false);

    const second = await echo("second");
    plugin.ready(second, 2);
    await until("second");
    socket.send("b");
    await until("echo b");
    expect(entries).toEqual(["open", "first", "echo a", "close 1006", "open", "second", "echo b"]);
  });

  test("send throws while the WebSocket is not open, and queues nothing", async () => {
    const plugin = fakePlugin();
    const { socket, entries, until } = open(plugin.name);
    const notOpen = expect.objectContaining({ name: "InvalidStateError" });
    expect(() => socket.send("lost")).toThrowError(notOpen);

    const server = await echo("hello");
    plugin.ready(server, 1);
    await until("hello");
    socket.send("kept");
    await until("echo kept");
    expect(entries).not.toContain("echo lost");

    socket.close();
    await until("close 1005");
    expect(() => socket.send("late")).toThrowError(notOpen);
  });

  test("a WebSocket moves to the new run after a swap, while the old one still serves", async () => {
    const plugin = fakePlugin();
    const { until, entries } = open(plugin.name);
    const [old, now] = [await echo("old"), await echo("now")];
    plugin.ready(old, 1);
    await until("old");
    plugin.ready(now, 2);
    await until("now");
    expect(entries).toEqual(["open", "old", "close 1005", "open", "now"]);
  });

  test("a WebSocket that the backend closes opens again, unless onClose calls close", async () => {
    const plugin = fakePlugin();
    const server = await echo("hello");
    const again = open(plugin.name);
    plugin.ready(server, 1);
    await again.until("hello");
    for (const client of server.sockets.clients) client.close(4401, "who are you?");
    await again.until("hello", 2);
    expect(again.entries).toEqual(["open", "hello", "close 4401", "open", "hello"]);
    again.socket.close();
    await again.until("close 1005");

    const closed = deferred<string>();
    const final = open(plugin.name, {
      onClose: ({ code, reason }) => {
        final.socket.close();
        closed.resolve(`${code} ${reason}`);
      },
    });
    await final.until("hello");
    for (const client of server.sockets.clients) client.close(4401, "who are you?");
    expect(await closed.promise).toBe("4401 who are you?");
    const third = open(plugin.name);
    await third.until("hello");
    expect(server.sockets.clients.size).toBe(1);
  });

  test("close ends a waiting WebSocket, passes its code to an open one, and throws for an invalid code", async () => {
    const plugin = fakePlugin();
    const server = await echo("hello");
    const early = open(plugin.name);
    early.socket.close();
    const controller = new AbortController();
    const aborted = open(plugin.name, { signal: controller.signal });
    controller.abort();
    const { socket, until } = open(plugin.name);
    plugin.ready(server, 1);
    await until("hello");

    const code = new Promise((resolve) => {
      for (const client of server.sockets.clients) client.on("close", (...args) => resolve(String(args)));
    });
    expect(() => socket.close(1)).toThrow();
    expect(socket.isOpen).toBe(true);
    socket.close(4000, "bye");
    socket.close(4001);
    expect(await code).toBe("4000,bye");
    await until("close 4000");
    expect([early.entries, aborted.entries]).toEqual([[], []]);
  });

  test("subprotocols are sent, and binary messages arrive as buffers", async () => {
    const plugin = fakePlugin();
    const server = await echo("");
    const message = deferred<unknown>();
    const offered = new Promise((resolve) =>
      server.sockets.on("connection", (socket, request) => {
        resolve(request.headers["sec-websocket-protocol"]);
        socket.send(new Uint8Array([1, 2]));
      }),
    );
    open(plugin.name, {
      protocols: ["notes.v1"],
      onMessage: (data) => {
        if (typeof data !== "string") message.resolve(data);
      },
    });
    plugin.ready(server, 1);
    expect(await offered).toBe("notes.v1");
    expect(await message.promise).toEqual(new Uint8Array([1, 2]).buffer);
  });

  test("onError is called once for a sidecar that cannot be watched, and for an invalid path", async () => {
    const plugin = fakePlugin();
    const failed = deferred<Error>();
    open(plugin.name, { onError: failed.resolve });
    plugin.subscriptions[0]?.response.reject(plugin.failure("unknownSidecar"));
    expect(await failed.promise).toMatchObject({ kind: "unknownSidecar" });

    const invalid = deferred<Error>();
    const server = await echo("hello");
    sidecar(plugin.name).webSocket("live", { onError: invalid.resolve });
    plugin.ready(server, 1);
    expect((await invalid.promise).message).toContain("begins with a slash");
  });
});
