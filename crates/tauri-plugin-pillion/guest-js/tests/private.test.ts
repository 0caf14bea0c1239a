// @vitest-environment node
import type { RequestListener } from "node:http";
import { inspect } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Interrupted } from "../error.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, deferred, fakePlugin } from "./plugin.js";

/** Tokens, as the supervisor makes them: 64 hexadecimal digits. */
const [FIRST, SECOND] = ["1a".repeat(32), "2b".repeat(32)] as [string, string];

/** A backend that admits only `token`. `carried` holds the `Authorization` of each request. */
async function privateBackend(
  token: string,
  answer: RequestListener = (_, response) => void response.end("in"),
  port = 0,
) {
  const carried: (string | undefined)[] = [];
  const server = await backend((request, response) => {
    carried.push(request.headers.authorization);
    if (request.headers.authorization === `Bearer ${token}`) return answer(request, response);
    response.writeHead(401, { "www-authenticate": "Bearer" }).end();
  }, port);
  return Object.assign(server, { carried });
}

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${String(value)}`)),
    (error: unknown) => error,
  );
}

const connectCalls = ({ commands }: ReturnType<typeof fakePlugin>) =>
  commands.filter((command) => command === "plugin:pillion|connect").length;

test("every request carries the token of its run, and the page asks for it once per run", async () => {
  const plugin = fakePlugin();
  const backend = sidecar(plugin.name);
  const [first, second] = [await privateBackend(FIRST), await privateBackend(SECOND)];
  const waiting = backend.fetch("/");
  plugin.readyWithToken(FIRST, first, 1);
  expect((await waiting).status).toBe(200);
  await Promise.all([backend.fetch("/"), sidecar(plugin.name).fetch("/", { method: "POST", body: "b" })]);
  expect(connectCalls(plugin)).toBe(1);

  plugin.sendStatus("backingOff");
  plugin.readyWithToken(SECOND, second, 2);
  expect((await backend.fetch("/")).status).toBe(200);
  await backend.fetch("/");
  expect(first.carried).toEqual(Array(3).fill(`Bearer ${FIRST}`));
  expect(second.carried).toEqual(Array(2).fill(`Bearer ${SECOND}`));
  expect(connectCalls(plugin)).toBe(2);
});

test("a request to a sidecar that is not private carries no token", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(FIRST);
  const answer = sidecar(plugin.name).fetch("/", { headers: { authorization: "Basic mine" } });
  plugin.ready(server, 1);
  // There is no token that a 401 could be about, so the app is not asked.
  expect((await answer).status).toBe(401);
  expect(server.carried).toEqual(["Basic mine"]);
  expect(connectCalls(plugin)).toBe(1);
});

test("preconnect calls watch and connect at once, and the first request then calls nothing", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(FIRST);
  sidecar(plugin.name).preconnect();
  expect(plugin.commands).toEqual(["plugin:pillion|watch", "plugin:pillion|connect"]);
  plugin.readyWithToken(FIRST, server, 1);
  expect((await sidecar(plugin.name).fetch("/")).status).toBe(200);
  expect(plugin.commands).toHaveLength(2);
});

test("a request without a timeout still waits for the token of the current run", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(FIRST);
  const { watch, fetch } = sidecar(plugin.name);
  const answer = new Promise<Response>((resolve) => {
    watch(({ state }) => state === "ready" && resolve(fetch("/", { connectTimeout: 0 })));
  });
  plugin.readyWithToken(FIRST, server, 1);
  expect((await answer).status).toBe(200);
});

test("no run receives the token of another one, even if `connect` responds before or after the status", async () => {
  const plugin = fakePlugin();
  const { watch, fetch, preconnect } = sidecar(plugin.name);
  const [first, second] = [await privateBackend(FIRST), await privateBackend(SECOND)];
  preconnect();
  watch(() => {});
  // Before: `connect` returns the second run, and then the status of the first arrives.
  plugin.setAccess({ url: second.url, pid: 2, token: SECOND });
  await Promise.resolve();
  plugin.send({ ...plugin.status("ready"), url: first.url, port: first.port, pid: 1 });
  const answer = fetch("/");
  plugin.send({ ...plugin.status("ready"), url: second.url, port: second.port, pid: 2 });
  expect((await answer).status).toBe(200);
  expect([first.carried, second.carried]).toEqual([[], [`Bearer ${SECOND}`]]);

  // After: `connect` was called during the run before.
  const third = await privateBackend(FIRST);
  plugin.send({ ...plugin.status("ready"), url: third.url, port: third.port, pid: 3 });
  plugin.setAccess({ url: third.url, pid: 3, token: FIRST });
  const late = fetch("/");
  plugin.send({ ...plugin.status("starting"), pid: 3 });
  plugin.send({ ...plugin.status("ready"), url: third.url, port: third.port, pid: 3 });
  expect((await late).status).toBe(200);
});

test.each(["GET", "POST"])(
  "a %s that the next run rejects on the same port is sent again with that run's token",
  async (method) => {
    const plugin = fakePlugin();
    const { fetch } = sidecar(plugin.name);
    const first = await privateBackend(FIRST);
    const waiting = fetch("/");
    plugin.readyWithToken(FIRST, first, 1);
    await waiting;

    // With socket activation, the next run responds on the same port before its status arrives.
    await first.crash();
    const bodies: string[] = [];
    const note: RequestListener = async (request, response) => {
      bodies.push(await bodyOf(request));
      response.end("done");
    };
    const second = await privateBackend(SECOND, note, first.port);
    plugin.setAccess(null);
    plugin.setAccess({ url: second.url, pid: 2, token: SECOND });
    const body = method === "POST" ? "once" : undefined;
    const answer = fetch("/notes", { method, ...(body && { body }) });
    await vi.waitFor(() => expect(second.carried).toEqual([`Bearer ${FIRST}`]), { timeout: 60_000 });
    plugin.send({ ...plugin.status("ready"), url: second.url, port: second.port, pid: 2 });
    expect(await (await answer).text()).toBe("done");
    expect(second.carried).toEqual([`Bearer ${FIRST}`, `Bearer ${SECOND}`]);
    expect(bodies).toEqual([body ?? ""]);
  },
);

test("a 401 of the next run is not followed by a second request with `retry: false`", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(SECOND);
  const answer = rejection(sidecar(plugin.name).fetch("/", { retry: false }));
  plugin.readyWithToken(FIRST, server, 1);
  plugin.setAccess(null);
  plugin.setAccess({ url: server.url, pid: 2, token: SECOND });
  expect(await answer).toBeInstanceOf(Interrupted);
  expect(server.requests).toHaveLength(1);
});

test("a 401 of the current run resolves at once", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(
    FIRST,
    (_, response) => void response.writeHead(401).end("log in first"),
  );
  const answer = sidecar(plugin.name).fetch("/account", { method: "POST" });
  plugin.readyWithToken(FIRST, server, 1);
  expect(await (await answer).text()).toBe("log in first");
  expect(server.requests).toEqual(["POST /account"]);
});

test("a redirect carries the token to the same origin only", async () => {
  const plugin = fakePlugin();
  const foreign = await privateBackend(FIRST);
  const server = await privateBackend(FIRST, ({ url }, response) => {
    const location = { "/away": `${foreign.url}/`, "/on": "/there" }[url ?? ""];
    if (location) response.writeHead(307, { location });
    response.end("there");
  });
  const { fetch } = sidecar(plugin.name);
  const waiting = fetch("/on");
  plugin.readyWithToken(FIRST, server, 1);
  expect(await (await waiting).text()).toBe("there");
  expect(server.requests).toEqual(["GET /on", "GET /there"]);

  const answer = await fetch("/away");
  expect(answer.url).toBe(`${foreign.url}/`);
  expect(foreign.carried).toEqual([undefined]);
});

test("a request with its own Authorization rejects", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(FIRST);
  const answer = rejection(sidecar(plugin.name).fetch("/", { headers: { Authorization: "Bearer mine" } }));
  plugin.readyWithToken(FIRST, server, 1);
  expect(await answer).toMatchObject({
    name: "TypeError",
    message: expect.stringContaining("another header"),
  });
  expect(server.requests).toEqual([]);
});

test("without the permission to connect, each call rejects and nothing is sent", async () => {
  const plugin = fakePlugin();
  const server = await privateBackend(FIRST);
  const { fetch, webSocket } = sidecar(plugin.name);
  plugin.rejectConnect(
    "pillion.connect not allowed. Permissions associated with this command: pillion:allow-connect",
  );
  const answer = rejection(fetch("/"));
  plugin.send({ ...plugin.status("ready"), url: server.url, port: server.port, pid: 1 });
  expect(await answer).toMatchObject({ name: "Error", message: expect.stringContaining("allow-connect") });
  expect(String(await rejection(fetch("/")))).toContain("allow-connect");
  expect(connectCalls(plugin)).toBe(2);

  const failed = deferred<Error>();
  webSocket("/live", { onError: failed.resolve });
  expect(String(await failed.promise)).toContain("allow-connect");
  expect(server.requests).toEqual([]);
});

test("an event stream carries the token, and moves to the next run after its 401", async () => {
  const plugin = fakePlugin();
  const events = sidecar(plugin.name).events("/changes");
  onTestFinished(async () => void (await Promise.race([events.return(), Promise.resolve()])));
  const sendEvent: (data: string) => RequestListener = (data) => (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(`data: ${data}\n\n`);
  };
  const first = await privateBackend(FIRST, sendEvent("one"));
  const one = events.next();
  plugin.readyWithToken(FIRST, first, 1);
  expect((await one).value).toMatchObject({ data: "one" });

  // As above, the stream is requested again before the status of the next run arrives.
  const second = await new Promise<Awaited<ReturnType<typeof privateBackend>>>((resolve) => {
    void first.crash().then(async () => resolve(await privateBackend(SECOND, sendEvent("two"), first.port)));
  });
  plugin.setAccess(null);
  plugin.setAccess({ url: second.url, pid: 2, token: SECOND });
  const two = events.next();
  await vi.waitFor(() => expect(second.carried).toEqual([`Bearer ${FIRST}`]), { timeout: 60_000 });
  plugin.send({ ...plugin.status("ready"), url: second.url, port: second.port, pid: 2 });
  expect((await two).value).toMatchObject({ data: "two" });
  expect(second.carried).toEqual([`Bearer ${FIRST}`, `Bearer ${SECOND}`]);
});

test("a WebSocket carries the token as a subprotocol, and nowhere else", async () => {
  vi.stubGlobal("WebSocket", WebSocket);
  const plugin = fakePlugin();
  const server = await backend(() => {});
  const offered = deferred<{ url: string | undefined; protocols: string | undefined }>();
  const sockets = new WebSocketServer({ server: server.server, handleProtocols: () => "chat" });
  sockets.on("connection", (socket, { url, headers }) => {
    offered.resolve({ url, protocols: headers["sec-websocket-protocol"] });
    socket.send("hello");
  });
  const arrived = deferred<MessageEvent>();
  const socket = sidecar(plugin.name).webSocket("/live?room=1", {
    protocols: "chat",
    onMessage: (_, event) => arrived.resolve(event),
  });
  onTestFinished(() => socket.close());
  plugin.readyWithToken(FIRST, server, 1);
  expect(await offered.promise).toEqual({
    url: "/live?room=1",
    protocols: `pillion,pillion.bearer.${FIRST},chat`,
  });
  const { url, protocol } = (await arrived.promise).target as unknown as WebSocket;
  expect([url, protocol]).toEqual([`ws://127.0.0.1:${server.port}/live?room=1`, "chat"]);
});

test("no URL, error or object that the page can inspect contains the token", async () => {
  const plugin = fakePlugin();
  const globals = Object.getOwnPropertyNames(globalThis);
  const handle = sidecar(plugin.name);
  const server = await privateBackend(FIRST, async (request, response) => {
    if (request.url === "/fine") return void response.end();
    await server.crash();
    plugin.sendStatus("backingOff", { failure: plugin.failure("crashed") });
  });
  const waiting = handle.fetch("/fine");
  plugin.readyWithToken(FIRST, server, 1);
  const response = await waiting;
  const error = await rejection(handle.fetch("/", { method: "POST" }));
  expect(error).toBeInstanceOf(Interrupted);

  const seen = [response, error, (error as Error).cause, handle, sidecar, ...server.requests];
  const shown = seen.map((value) => inspect(value, { depth: 8, showHidden: true }) + JSON.stringify(value));
  expect(shown.join()).toContain("/fine");
  expect(shown.join()).not.toContain(FIRST);
  expect(Object.getOwnPropertyNames(globalThis)).toEqual(globals);
});
