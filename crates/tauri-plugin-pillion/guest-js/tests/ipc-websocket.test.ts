// @vitest-environment node
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { IpcWebSocket } from "../ipc-websocket.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";
import { proxyWebSockets } from "./web-socket-proxy.js";

/** A server that echoes each message, and the fake of the app in front of it. */
async function echo() {
  fakePlugin();
  const server = await backend((_, response) => void response.writeHead(403).end());
  const sockets = new WebSocketServer({ server: server.server, path: "/live" });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  const proxy = proxyWebSockets();
  proxy.connectTo(server);
  return { proxy, sockets };
}

/** Opens a WebSocket, and collects what its handlers get. */
function open(path = "/live", protocols: string[] = []) {
  const socket = new IpcWebSocket("backend", new URL(`http://localhost${path}`), protocols);
  const entries: unknown[] = [];
  const wakes = new Set<() => void>();
  const write = (entry: unknown) => {
    entries.push(entry);
    for (const wake of wakes) wake();
  };
  socket.onopen = () => write("open");
  socket.onmessage = ({ data }) => write(data);
  socket.onerror = () => write("error");
  socket.onclose = ({ code, reason, wasClean }) => write(`close ${code} ${reason} ${wasClean}`);
  onTestFinished(() => socket.close());
  return {
    socket,
    entries,
    async count(count: number) {
      while (entries.length < count) await new Promise<void>((resolve) => wakes.add(resolve));
    },
  };
}

test("bytes of another window, and values that are no bytes, are sent as by a WebSocket", async () => {
  await echo();
  const { socket, entries, count } = open();
  socket.binaryType = "arraybuffer";
  await count(1);
  socket.send(runInNewContext("new ArrayBuffer(4)"));
  socket.send(runInNewContext("new Uint8Array([1, 2, 3]).subarray(1)"));
  socket.send(5 as unknown as string);
  await count(4);
  expect(entries.slice(1)).toEqual([new ArrayBuffer(4), new Uint8Array([2, 3]).buffer, "5"]);
});

test("it has the interface of a WebSocket: state, protocol, messages of each kind, close", async () => {
  const { proxy } = await echo();
  const { socket, entries, count } = open("/live?a=1#b", ["chat"]);
  expect([socket.readyState, socket.url, socket.binaryType]).toEqual([0, "ws://localhost/live?a=1", "blob"]);
  expect(() => socket.send("early")).toThrowError(expect.objectContaining({ name: "InvalidStateError" }));
  await count(1);
  expect([socket.readyState, socket.protocol]).toEqual([1, "chat"]);
  const bytes = new Uint8Array([1, 2, 3, 4]);
  socket.send("\ufeffgrößer");
  socket.send(bytes.subarray(1, 3));
  socket.send(new Blob(["blob"]));
  socket.send(bytes.buffer);
  socket.send("");
  expect(socket.bufferedAmount).toBe(11 + 2 + 4 + 4);
  // The caller may change the bytes after `send`.
  bytes.fill(9);
  await count(3);
  expect(await (entries[2] as Blob).arrayBuffer()).toEqual(new Uint8Array([2, 3]).buffer);
  await count(6);
  expect([entries[1], entries[5]]).toEqual(["\ufeffgrößer", ""]);
  expect(await (entries[3] as Blob).text()).toBe("blob");
  expect(await (entries[4] as Blob).arrayBuffer()).toEqual(new Uint8Array([1, 2, 3, 4]).buffer);
  expect(socket.bufferedAmount).toBe(0);
  // All that was sent at a time went in one call.
  expect(proxy.writes).toEqual([5]);
  socket.binaryType = "arraybuffer";
  socket.send(new Uint8Array([7]));
  await count(7);
  expect(entries[6]).toEqual(new Uint8Array([7]).buffer);
  socket.close(4000, "größer");
  expect(socket.readyState).toBe(2);
  socket.send("late");
  await count(8);
  expect([entries[7], socket.readyState]).toEqual(["close 4000 größer true", 3]);
  expect(proxy.writes).toEqual([5, 1, 0]);
});

test("messages wait in the page, in order, while the app takes none", async () => {
  const { proxy } = await echo();
  const { socket, entries, count } = open();
  await count(1);
  const taken = deferred();
  proxy.taken = taken.promise;
  const sent = Array.from({ length: 1000 }, (_, at) => `message ${at}`);
  for (const message of sent) {
    socket.send(message);
    if (message === "message 9") await new Promise((resolve) => setTimeout(resolve));
  }
  expect(socket.bufferedAmount).toBe(new TextEncoder().encode(sent.join("")).length);
  taken.resolve();
  await count(1 + sent.length);
  expect(entries.slice(1)).toEqual(sent);
  expect(proxy.writes).toEqual([10, 990]);
  expect(socket.bufferedAmount).toBe(0);
});

test("a call to the app takes about a megabyte", async () => {
  const { proxy } = await echo();
  const { socket, count } = open();
  await count(1);
  for (let at = 0; at < 5; at += 1) socket.send(new Uint8Array(600_000));
  await count(6);
  expect(proxy.writes).toEqual([2, 2, 1]);
});

test("a connection that breaks, and one that does not open, are an error and a close", async () => {
  const { proxy, sockets } = await echo();
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const broken = open();
  await broken.count(1);
  for (const client of sockets.clients) client.terminate();
  await broken.count(3);
  expect(broken.entries).toEqual(["open", "error", "close 1006  false"]);
  const refused = open("/other");
  await refused.count(2);
  expect(refused.entries).toEqual(["error", "close 1006  false"]);
  expect(warn).toHaveBeenCalledOnce();
  proxy.sockets.clear();
});

test("close before it opens cancels it", async () => {
  const { sockets } = await echo();
  const { socket, entries, count } = open();
  socket.close();
  socket.close(4000);
  expect(socket.readyState).toBe(2);
  await count(2);
  expect([entries, socket.readyState]).toEqual([["error", "close 1006  false"], 3]);
  expect(sockets.clients.size).toBe(0);
});

test("invalid protocols, codes and reasons throw", async () => {
  await echo();
  for (const protocols of [["a b"], [""], ["a", "a"], ["ü"]]) {
    expect(() => open("/live", protocols)).toThrowError(expect.objectContaining({ name: "SyntaxError" }));
  }
  const { socket } = open();
  for (const code of [1, 1001, 2999, 5000]) {
    expect(() => socket.close(code)).toThrowError(expect.objectContaining({ name: "InvalidAccessError" }));
  }
  expect(() => socket.close(1000, "ü".repeat(62))).toThrowError(
    expect.objectContaining({ name: "SyntaxError" }),
  );
});

test("no message is handled after close", async () => {
  const { sockets } = await echo();
  const { socket, entries, count } = open();
  await count(1);
  socket.onmessage = ({ data }) => {
    entries.push(data);
    socket.close();
  };
  for (const client of sockets.clients) for (const data of ["first", "second"]) client.send(data);
  await count(3);
  expect(entries).toEqual(["open", "first", "close 1005  true"]);
});

test("onError is called if the app refuses it, and the WebSocket is not opened again", async () => {
  const plugin = fakePlugin();
  vi.stubGlobal("WebSocket", WebSocket);
  const proxy = proxyWebSockets();
  proxy.refusal = "pillion.request not allowed";
  const failed = deferred<Error>();
  const socket = sidecar(plugin.name).webSocket("/live", { onError: failed.resolve });
  plugin.sendStatus("ready", { url: "pillion://localhost", pid: 1 });
  expect((await failed.promise).message).toContain("not allowed");
  expect(socket.isOpen).toBe(false);
  socket.close();
});

test("what the sidecar sent before it closed arrives, even if the page sends meanwhile", async () => {
  const { proxy, sockets } = await echo();
  const { socket, entries, count } = open();
  await count(1);
  const readable = deferred();
  proxy.readable = readable.promise;
  const [opened] = proxy.sockets.values();
  const closed = new Promise((resolve) => opened?.socket.on("close", resolve));
  for (const client of sockets.clients) {
    client.send("last");
    client.close(4401, "who?");
  }
  await closed;
  socket.send("late");
  while (proxy.writes.length === 0) await new Promise((resolve) => setTimeout(resolve));
  readable.resolve();
  await count(3);
  expect(entries).toEqual(["open", "last", "close 4401 who? true"]);
  expect(proxy.cancelled).toEqual([]);
});

test("a message that is too large ends it, after those before", async () => {
  const { sockets } = await echo();
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { socket, entries, count } = open();
  await count(1);
  const received: string[] = [];
  for (const client of sockets.clients) client.on("message", (data) => received.push(String(data)));
  const large = Object.defineProperty(new Blob(), "size", { value: 64 * 1024 * 1024 + 1 });
  const read = vi.spyOn(large, "arrayBuffer");
  socket.send("first");
  socket.send(large);
  const [server] = sockets.clients;
  const ended = new Promise((resolve) => server?.on("close", resolve));
  await ended;
  expect(received).toEqual(["first"]);
  expect(read).not.toHaveBeenCalled();
  while (socket.readyState !== 3) await count(entries.length + 1);
  expect(entries.slice(-2)).toEqual(["error", "close 1006  false"]);
  expect(warn).toHaveBeenLastCalledWith(
    expect.any(String),
    expect.objectContaining({ message: expect.stringContaining("67108865") }),
  );
});

test("it ends in the app if this page may open it and not read", async () => {
  const { proxy, sockets } = await echo();
  proxy.readRefusal = "pillion.read not allowed";
  const { entries, count } = open();
  const ended = new Promise((resolve) => sockets.on("connection", (socket) => socket.on("close", resolve)));
  await count(3);
  expect(entries).toEqual(["open", "error", "close 1006  false"]);
  await ended;
});

test("close ends it if the sidecar reads nothing for ten seconds", async () => {
  const { proxy } = await echo();
  const { socket, entries, count } = open();
  await count(1);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const taken = deferred();
  proxy.taken = taken.promise;
  socket.send("unread");
  socket.close();
  vi.advanceTimersByTime(9_999);
  expect(proxy.cancelled).toEqual([]);
  vi.advanceTimersByTime(1);
  await count(3);
  expect(entries).toEqual(["open", "error", "close 1006  false"]);
  taken.resolve();
});
