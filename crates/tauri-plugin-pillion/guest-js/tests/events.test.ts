// @vitest-environment node
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { EventStreamError, type ServerSentEvent } from "../events.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

/** Begins an answer that is an event stream. */
function stream(response: ServerResponse, ...chunks: (string | Uint8Array)[]): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const chunk of chunks) response.write(chunk);
}

/** A backend that hands each request to whoever awaits the next one. */
async function asked() {
  const arrivals: ReturnType<typeof deferred<[IncomingMessage, ServerResponse]>>[] = [];
  const arrival = (index: number) => {
    while (arrivals.length <= index) arrivals.push(deferred());
    const found = arrivals[index];
    if (!found) throw new Error("unreachable");
    return found;
  };
  let [came, taken] = [0, 0];
  const server = await backend((...exchange) => arrival(came++).resolve(exchange));
  return Object.assign(server, { next: () => arrival(taken++).promise });
}

function subscribe(name: string, options?: Parameters<ReturnType<typeof sidecar>["events"]>[1]) {
  const events = sidecar(name).events("/changes", options);
  onTestFinished(async () => void (await Promise.race([events.return(), Promise.resolve()])));
  const next = async () => (await events.next()).value as ServerSentEvent;
  return { events, next };
}

test("a stream survives a crash: the next run is asked to go on after the last event", async () => {
  const plugin = fakePlugin();
  const opened: number[] = [];
  const { next } = subscribe(plugin.name, { onOpen: ({ status }) => opened.push(status) });
  const first = await asked();
  const one = next();
  plugin.ready(first, 1);
  const [request, response] = await first.next();
  expect(request.headers).toMatchObject({ accept: "text/event-stream", "cache-control": "no-cache" });
  expect(request.headers["last-event-id"]).toBeUndefined();
  stream(response, "id: 7\ndata: one\n\n", "id: 8\ndata: cut o");
  expect(await one).toEqual({ event: "message", data: "one", lastEventId: "7" });

  const two = next();
  await first.crash();
  plugin.say("backingOff", { failure: plugin.failure("crashed") });
  const second = await asked();
  plugin.ready(second, 2);
  const [again, resumed] = await second.next();
  expect(again.headers["last-event-id"]).toBe("7");
  stream(resumed, "event: note\ndata: two\n\n");

  expect(await two).toEqual({ event: "note", data: "two", lastEventId: "7" });
  expect(opened).toEqual([200, 200]);
});

test("a stream moves over when another run takes the place of one that still serves", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const [old, now] = [await asked(), await asked()];
  const one = next();
  plugin.ready(old, 1);
  const [, draining] = await old.next();
  const left = new Promise((resolve) => draining.on("close", resolve));
  stream(draining, "data: one\n\n");
  await one;

  const two = next();
  plugin.ready(now, 2);
  const [, response] = await now.next();
  stream(response, "data: two\n\n");
  expect((await two).data).toBe("two");
  await left;
});

test("a stream outlives a sidecar that has failed, until somebody starts it again", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const one = next();
  plugin.say("failed", { failure: plugin.failure("spawn") });
  const server = await asked();
  plugin.ready(server, 2);
  const [, response] = await server.next();
  stream(response, "data: back\n\n");
  expect((await one).data).toBe("back");
});

test("a stream that the backend ends is asked for again, after the pause that it wished for", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const server = await asked();
  const one = next();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  stream(response, "retry: 1\n\nid: a\ndata: 1\n\nid: bü🚀\n\n");
  response.end();
  expect((await one).data).toBe("1");

  const two = next();
  const [request, again] = await server.next();
  // An id counts without data: https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage.
  const resumedAfter = Buffer.from(String(request.headers["last-event-id"]), "latin1").toString();
  expect(resumedAfter).toBe("bü🚀");
  stream(again, "data: 2\n\n");
  expect(await two).toMatchObject({ data: "2", lastEventId: "bü🚀" });
});

test("the format is read as the standard says, wherever the chunks are cut", async () => {
  const text = [
    "\uFEFFdata: bom\nretry: 1\n\n",
    "\uFEFFdata: a mark inside is no mark\n\n",
    ": a comment\nid: 1\r\nevent: add\r\ndata: crlf\r\n\r\n",
    "data:no space\rdata:  two\r\r",
    "data\n\n",
    "event: never\n\n",
    "unknown: field\nretry: soon\nid: with\u0000null\ndata: ünïcödé 🚀\n\n",
    "data: never finished\n",
  ].join("");
  const expected = [
    { event: "message", data: "bom", lastEventId: "" },
    { event: "add", data: "crlf", lastEventId: "1" },
    { event: "message", data: "no space\n two", lastEventId: "1" },
    { event: "message", data: "", lastEventId: "1" },
    { event: "message", data: "ünïcödé 🚀", lastEventId: "1" },
  ];
  const bytes = new TextEncoder().encode(text);
  const plugin = fakePlugin();
  // A network cuts where it likes; here it is where the test likes.
  const answer = (size: number) => {
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) return controller.close();
        controller.enqueue(bytes.slice(at, at + size));
        at += size;
      },
    });
    return new Response(body, { headers: { "content-type": "Text/Event-Stream;charset=UTF-8" } });
  };
  const fetched = vi.spyOn(globalThis, "fetch");
  onTestFinished(() => fetched.mockRestore());
  sidecar(plugin.name).watch(() => {});
  plugin.say("ready", { url: "http://127.0.0.1:1", port: 1, pid: 1 });

  for (const size of [bytes.length, 1, 2, 3, 7]) {
    fetched.mockResolvedValueOnce(answer(size)).mockResolvedValueOnce(new Response(null, { status: 204 }));
    const seen: ServerSentEvent[] = [];
    for await (const event of sidecar(plugin.name).events("/")) seen.push(event);
    expect(seen).toEqual(expected);
  }
});

test("one byte order mark is taken away, and not two", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const server = await asked();
  const one = next();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  stream(response, "\uFEFF\uFEFFdata: 1\n\ndata: 2\n\n");
  expect((await one).data).toBe("2");
});

test("leaving the loop closes the connection", async () => {
  const plugin = fakePlugin();
  const server = await asked();
  const left = deferred();
  const loop = (async () => {
    for await (const { data } of sidecar(plugin.name).events("/changes")) return data;
  })();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  response.on("close", () => left.resolve());
  stream(response, "data: 1\n\ndata: 2\n\n");
  expect(await loop).toBe("1");
  await left.promise;
});

test("abort ends the iteration quietly: while it waits, while it reads, and before it begins", async () => {
  const plugin = fakePlugin();
  const server = await asked();

  const waiting = new AbortController();
  const first = subscribe(plugin.name, { signal: waiting.signal }).events.next();
  waiting.abort();
  expect((await first).done).toBe(true);

  const reading = new AbortController();
  const second = subscribe(plugin.name, { signal: reading.signal });
  const one = second.next();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  const left = new Promise((resolve) => response.on("close", resolve));
  stream(response, "data: 1\n\ndata: 2\n\n");
  await one;
  reading.abort();
  expect((await second.events.next()).done).toBe(true);
  await left;

  expect((await subscribe(plugin.name, { signal: reading.signal }).events.next()).done).toBe(true);
  expect(server.requests).toHaveLength(1);
});

test("204 ends it, and an answer that is no event stream is an error that holds the answer", async () => {
  const plugin = fakePlugin();
  const server = await asked();
  const done = subscribe(plugin.name).events.next();
  plugin.ready(server, 1);
  const [, empty] = await server.next();
  empty.writeHead(204).end();
  expect((await done).done).toBe(true);

  const failing = subscribe(plugin.name)
    .events.next()
    .catch((error: unknown) => error);
  const [, refused] = await server.next();
  refused.writeHead(404, { "content-type": "application/json" }).end("{}");
  const error = (await failing) as EventStreamError;
  expect(error).toBeInstanceOf(EventStreamError);
  expect(error.message).toContain("answered 404 with application/json");
  expect(error.response.status).toBe(404);
});

test("headers and a last event id of the caller's are sent", async () => {
  const plugin = fakePlugin();
  const server = await asked();
  const headers = { authorization: "Bearer t" };
  const one = subscribe(plugin.name, { headers, lastEventId: "41" }).next();
  plugin.ready(server, 1);
  const [request, response] = await server.next();
  expect(request.headers).toMatchObject({ authorization: "Bearer t", "last-event-id": "41" });
  stream(response, "data: 1\n\n");
  expect((await one).lastEventId).toBe("41");
});
