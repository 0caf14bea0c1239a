// @vitest-environment node
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { sidecar } from "../sidecar.js";
import type { SocketOptions } from "../socket.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

// The client's side too: Node 20 has no WebSocket of its own, and this one has the interface of the browsers'.
beforeEach(() => void vi.stubGlobal("WebSocket", WebSocket));

/** What happened, in order, each as soon as it is awaited. */
function diary() {
  const entries: string[] = [];
  const waiting: { wanted: string; resolve: () => void }[] = [];
  return {
    entries,
    write(entry: string) {
      entries.push(entry);
      for (const { wanted, resolve } of waiting) if (wanted === entry) resolve();
    },
    /** Resolves when `wanted` is written `times` times. */
    async until(wanted: string, times = 1) {
      while (entries.filter((entry) => entry === wanted).length < times) {
        const { promise, resolve } = deferred();
        waiting.push({ wanted, resolve });
        await promise;
      }
    },
  };
}

/** A backend that greets whoever connects, and echoes what it is sent. */
async function echo(greeting: string) {
  const server = await backend((_, response) => void response.writeHead(426).end());
  const sockets = new WebSocketServer({ server: server.server, path: "/live" });
  sockets.on("connection", (socket) => {
    socket.send(greeting);
    socket.on("message", (data) => socket.send(`echo ${String(data)}`));
  });
  return Object.assign(server, { sockets });
}

function open(name: string, options: SocketOptions = {}) {
  const { entries, write, until } = diary();
  const socket = sidecar(name).webSocket("/live", {
    onOpen: () => write("open"),
    onMessage: (data) => write(String(data)),
    onClose: ({ code }) => write(`close ${code}`),
    ...options,
  });
  onTestFinished(() => socket.close());
  return { socket, entries, until };
}

test("a socket waits for the sidecar, and is opened again on the next run", async () => {
  const plugin = fakePlugin();
  const { socket, entries, until } = open(plugin.name);
  expect(socket.isOpen).toBe(false);
  const first = await echo("first");
  plugin.ready(first, 1);
  await until("first");
  socket.send("a");
  await until("echo a");

  await first.crash();
  plugin.say("backingOff", { failure: plugin.failure("crashed") });
  await until("close 1006");
  expect(socket.isOpen).toBe(false);

  const second = await echo("second");
  plugin.ready(second, 2);
  await until("second");
  socket.send("b");
  await until("echo b");
  expect(entries).toEqual(["open", "first", "echo a", "close 1006", "open", "second", "echo b"]);
});

test("nothing is kept to be sent later: without a connection, send throws", async () => {
  const plugin = fakePlugin();
  const { socket, entries, until } = open(plugin.name);
  const refused = expect.objectContaining({ name: "InvalidStateError" });
  expect(() => socket.send("lost")).toThrowError(refused);

  const server = await echo("hello");
  plugin.ready(server, 1);
  await until("hello");
  socket.send("kept");
  await until("echo kept");
  expect(entries).not.toContain("echo lost");

  socket.close();
  await until("close 1005");
  expect(() => socket.send("late")).toThrowError(refused);
});

test("a socket moves over when another run takes the place of one that still serves", async () => {
  const plugin = fakePlugin();
  const { until, entries } = open(plugin.name);
  const [old, now] = [await echo("old"), await echo("now")];
  plugin.ready(old, 1);
  await until("old");
  plugin.ready(now, 2);
  await until("now");
  expect(entries).toEqual(["open", "old", "close 1005", "open", "now"]);
});

test("a socket that the backend closes is opened again; one that is closed in onClose is not", async () => {
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

test("close ends a socket that is still waiting, with its code one that is open; a code that is none is refused", async () => {
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

test("subprotocols are offered, and binary messages arrive as buffers", async () => {
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

test("a sidecar that cannot be watched, and a path that is none, are said once", async () => {
  const plugin = fakePlugin();
  const told = deferred<Error>();
  open(plugin.name, { onError: told.resolve });
  plugin.streams[0]?.answer.reject(plugin.failure("unknownSidecar"));
  expect(await told.promise).toMatchObject({ kind: "unknownSidecar" });

  const wrong = deferred<Error>();
  const server = await echo("hello");
  sidecar(plugin.name).webSocket("live", { onError: wrong.resolve });
  plugin.ready(server, 1);
  expect((await wrong.promise).message).toContain("begins with a slash");
});
