// @vitest-environment node
import type { RequestListener } from "node:http";
import { inspect } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Interrupted } from "../error.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, deferred, fakePlugin } from "./plugin.js";

/** As the supervisor makes them: 64 hexadecimal digits. */
const [FIRST, SECOND] = ["1a".repeat(32), "2b".repeat(32)] as [string, string];

/** A backend that answers `token` alone, and notes what each request carried. */
async function privately(
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

const asked = ({ commands }: ReturnType<typeof fakePlugin>) =>
  commands.filter((command) => command === "plugin:pillion|connect").length;

test("every request carries the token of its run, which is asked for once per run", async () => {
  const plugin = fakePlugin();
  const backend = sidecar(plugin.name);
  const [first, second] = [await privately(FIRST), await privately(SECOND)];
  const waiting = backend.fetch("/");
  plugin.readyWith(FIRST, first, 1);
  expect((await waiting).status).toBe(200);
  await Promise.all([backend.fetch("/"), sidecar(plugin.name).fetch("/", { method: "POST", body: "b" })]);
  expect(asked(plugin)).toBe(1);

  plugin.say("backingOff");
  plugin.readyWith(SECOND, second, 2);
  expect((await backend.fetch("/")).status).toBe(200);
  await backend.fetch("/");
  expect(first.carried).toEqual(Array(3).fill(`Bearer ${FIRST}`));
  expect(second.carried).toEqual(Array(2).fill(`Bearer ${SECOND}`));
  expect(asked(plugin)).toBe(2);
});

test("a sidecar that is not private is sent no token", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST);
  const answer = sidecar(plugin.name).fetch("/", { headers: { authorization: "Basic mine" } });
  plugin.ready(server, 1);
  // Its 401 is its own, too: the app is not asked about it.
  expect((await answer).status).toBe(401);
  expect(server.carried).toEqual(["Basic mine"]);
  expect(asked(plugin)).toBe(1);
});

test("a page that connects early asks for both at once, and its first request asks for nothing", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST);
  sidecar(plugin.name).preconnect();
  expect(plugin.commands).toEqual(["plugin:pillion|watch", "plugin:pillion|connect"]);
  plugin.readyWith(FIRST, server, 1);
  expect((await sidecar(plugin.name).fetch("/")).status).toBe(200);
  expect(plugin.commands).toHaveLength(2);
});

test("whoever does not wait for a backend does wait for the token of one that is there", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST);
  const { watch, fetch } = sidecar(plugin.name);
  const answer = new Promise<Response>((resolve) => {
    watch(({ state }) => state === "ready" && resolve(fetch("/", { patience: 0 })));
  });
  plugin.readyWith(FIRST, server, 1);
  expect((await answer).status).toBe(200);
});

test("where the app's answer is ahead of the news or behind it, no run is sent another one's token", async () => {
  const plugin = fakePlugin();
  const { watch, fetch, preconnect } = sidecar(plugin.name);
  const [first, second] = [await privately(FIRST), await privately(SECOND)];
  preconnect();
  watch(() => {});
  // Ahead: the app gives the second run to a page that is about to hear of the first.
  plugin.grant({ url: second.url, pid: 2, token: SECOND });
  await Promise.resolve();
  plugin.send({ ...plugin.status("ready"), url: first.url, port: first.port, pid: 1 });
  const answer = fetch("/");
  plugin.send({ ...plugin.status("ready"), url: second.url, port: second.port, pid: 2 });
  expect((await answer).status).toBe(200);
  expect([first.carried, second.carried]).toEqual([[], [`Bearer ${SECOND}`]]);

  // Behind: the answer to a question that was asked in time for the run before.
  const third = await privately(FIRST);
  plugin.send({ ...plugin.status("ready"), url: third.url, port: third.port, pid: 3 });
  plugin.grant({ url: third.url, pid: 3, token: FIRST });
  const late = fetch("/");
  plugin.send({ ...plugin.status("starting"), pid: 3 });
  plugin.send({ ...plugin.status("ready"), url: third.url, port: third.port, pid: 3 });
  expect((await late).status).toBe(200);
});

test.each(["GET", "POST"])(
  "a %s that the next run refuses on the same port is sent to it with its own token",
  async (method) => {
    const plugin = fakePlugin();
    const { fetch } = sidecar(plugin.name);
    const first = await privately(FIRST);
    const waiting = fetch("/");
    plugin.readyWith(FIRST, first, 1);
    await waiting;

    // The listener was handed over: the page has not heard of it when the request is answered.
    await first.crash();
    const bodies: string[] = [];
    const note: RequestListener = async (request, response) => {
      bodies.push(await bodyOf(request));
      response.end("done");
    };
    const second = await privately(SECOND, note, first.port);
    plugin.grant(null);
    plugin.grant({ url: second.url, pid: 2, token: SECOND });
    const body = method === "POST" ? "once" : undefined;
    const answer = fetch("/notes", { method, ...(body && { body }) });
    await vi.waitFor(() => expect(second.carried).toEqual([`Bearer ${FIRST}`]));
    plugin.send({ ...plugin.status("ready"), url: second.url, port: second.port, pid: 2 });
    expect(await (await answer).text()).toBe("done");
    expect(second.carried).toEqual([`Bearer ${FIRST}`, `Bearer ${SECOND}`]);
    expect(bodies).toEqual([body ?? ""]);
  },
);

test("a 401 of a run that has ended is not followed by whoever wants no second request", async () => {
  const plugin = fakePlugin();
  const server = await privately(SECOND);
  const answer = rejection(sidecar(plugin.name).fetch("/", { retry: false }));
  plugin.readyWith(FIRST, server, 1);
  plugin.grant(null);
  plugin.grant({ url: server.url, pid: 2, token: SECOND });
  expect(await answer).toBeInstanceOf(Interrupted);
  expect(server.requests).toHaveLength(1);
});

test("a 401 of the run that is there is the caller's, at once", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST, (_, response) => void response.writeHead(401).end("log in first"));
  const answer = sidecar(plugin.name).fetch("/account", { method: "POST" });
  plugin.readyWith(FIRST, server, 1);
  expect(await (await answer).text()).toBe("log in first");
  expect(server.requests).toEqual(["POST /account"]);
});

test("a redirect takes the token along to the same origin, and to no other", async () => {
  const plugin = fakePlugin();
  const foreign = await privately(FIRST);
  const server = await privately(FIRST, ({ url }, response) => {
    const location = { "/away": `${foreign.url}/`, "/on": "/there" }[url ?? ""];
    if (location) response.writeHead(307, { location });
    response.end("there");
  });
  const { fetch } = sidecar(plugin.name);
  const waiting = fetch("/on");
  plugin.readyWith(FIRST, server, 1);
  expect(await (await waiting).text()).toBe("there");
  expect(server.requests).toEqual(["GET /on", "GET /there"]);

  const answer = await fetch("/away");
  expect(answer.url).toBe(`${foreign.url}/`);
  expect(foreign.carried).toEqual([undefined]);
});

test("the header of the token is not the caller's to set", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST);
  const answer = rejection(sidecar(plugin.name).fetch("/", { headers: { Authorization: "Bearer mine" } }));
  plugin.readyWith(FIRST, server, 1);
  expect(await answer).toMatchObject({
    name: "TypeError",
    message: expect.stringContaining("another header"),
  });
  expect(server.requests).toEqual([]);
});

test("a window that may not call the sidecar is told so, each time, and never sends anything", async () => {
  const plugin = fakePlugin();
  const server = await privately(FIRST);
  const { fetch, webSocket } = sidecar(plugin.name);
  plugin.refuse(
    "pillion.connect not allowed. Permissions associated with this command: pillion:allow-connect",
  );
  const answer = rejection(fetch("/"));
  plugin.send({ ...plugin.status("ready"), url: server.url, port: server.port, pid: 1 });
  expect(await answer).toMatchObject({ name: "Error", message: expect.stringContaining("allow-connect") });
  expect(String(await rejection(fetch("/")))).toContain("allow-connect");
  expect(asked(plugin)).toBe(2);

  const refused = deferred<Error>();
  webSocket("/live", { onError: refused.resolve });
  expect(String(await refused.promise)).toContain("allow-connect");
  expect(server.requests).toEqual([]);
});

test("an event stream carries the token, and moves on when the next run refuses it", async () => {
  const plugin = fakePlugin();
  const events = sidecar(plugin.name).events("/changes");
  onTestFinished(async () => void (await Promise.race([events.return(), Promise.resolve()])));
  const tell: (data: string) => RequestListener = (data) => (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(`data: ${data}\n\n`);
  };
  const first = await privately(FIRST, tell("one"));
  const one = events.next();
  plugin.readyWith(FIRST, first, 1);
  expect((await one).value).toMatchObject({ data: "one" });

  // As above: the stream is asked for anew before the page has heard of the next run.
  const second = await new Promise<Awaited<ReturnType<typeof privately>>>((resolve) => {
    void first.crash().then(async () => resolve(await privately(SECOND, tell("two"), first.port)));
  });
  plugin.grant(null);
  plugin.grant({ url: second.url, pid: 2, token: SECOND });
  const two = events.next();
  await vi.waitFor(() => expect(second.carried).toEqual([`Bearer ${FIRST}`]), { timeout: 5_000 });
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
  plugin.readyWith(FIRST, server, 1);
  expect(await offered.promise).toEqual({
    url: "/live?room=1",
    protocols: `pillion,pillion.bearer.${FIRST},chat`,
  });
  const { url, protocol } = (await arrived.promise).target as unknown as WebSocket;
  expect([url, protocol]).toEqual([`ws://127.0.0.1:${server.port}/live?room=1`, "chat"]);
});

test("the token is in no URL, no error and no object that the page can look at", async () => {
  const plugin = fakePlugin();
  const globals = Object.getOwnPropertyNames(globalThis);
  const handle = sidecar(plugin.name);
  const server = await privately(FIRST, async (request, response) => {
    if (request.url === "/fine") return void response.end();
    await server.crash();
    plugin.say("backingOff", { failure: plugin.failure("crashed") });
  });
  const waiting = handle.fetch("/fine");
  plugin.readyWith(FIRST, server, 1);
  const response = await waiting;
  const error = await rejection(handle.fetch("/", { method: "POST" }));
  expect(error).toBeInstanceOf(Interrupted);

  const seen = [response, error, (error as Error).cause, handle, sidecar, ...server.requests];
  const shown = seen.map((value) => inspect(value, { depth: 8, showHidden: true }) + JSON.stringify(value));
  expect(shown.join()).toContain("/fine");
  expect(shown.join()).not.toContain(FIRST);
  expect(Object.getOwnPropertyNames(globalThis)).toEqual(globals);
});
