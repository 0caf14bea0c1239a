// @vitest-environment node
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { EventStreamError, type ServerSentEvent } from "../events.js";
import { sidecar } from "../sidecar.js";
import { backend, deferred, fakePlugin } from "./plugin.js";

/** Begins a response that is an event stream. */
function writeStream(response: ServerResponse, ...chunks: (string | Uint8Array)[]): void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  for (const chunk of chunks) response.write(chunk);
}

/** A backend whose requests the test awaits one by one with `next`. */
async function observedBackend() {
  const arrivals: ReturnType<typeof deferred<[IncomingMessage, ServerResponse]>>[] = [];
  const arrival = (index: number) => {
    while (arrivals.length <= index) arrivals.push(deferred());
    const found = arrivals[index];
    if (!found) throw new Error("unreachable");
    return found;
  };
  let [arrived, awaited] = [0, 0];
  const server = await backend((...exchange) => arrival(arrived++).resolve(exchange));
  return Object.assign(server, { next: () => arrival(awaited++).promise });
}

function subscribe(name: string, options?: Parameters<ReturnType<typeof sidecar>["events"]>[1]) {
  const events = sidecar(name).events("/changes", options);
  onTestFinished(async () => void (await Promise.race([events.return(), Promise.resolve()])));
  const next = async () => (await events.next()).value as ServerSentEvent;
  return { events, next };
}

test("a stream resumes on the next run after a crash, after the last event", async () => {
  const plugin = fakePlugin();
  const opened: number[] = [];
  const { next } = subscribe(plugin.name, { onOpen: ({ status }) => opened.push(status) });
  const first = await observedBackend();
  const one = next();
  plugin.ready(first, 1);
  const [request, response] = await first.next();
  expect(request.headers).toMatchObject({ accept: "text/event-stream", "cache-control": "no-cache" });
  expect(request.headers["last-event-id"]).toBeUndefined();
  writeStream(response, "id: 7\ndata: one\n\n", "id: 8\ndata: cut o");
  expect(await one).toEqual({ event: "message", data: "one", lastEventId: "7" });

  const two = next();
  await first.crash();
  plugin.sendStatus("backingOff", { failure: plugin.failure("crashed") });
  const second = await observedBackend();
  plugin.ready(second, 2);
  const [again, resumed] = await second.next();
  expect(again.headers["last-event-id"]).toBe("7");
  writeStream(resumed, "event: note\ndata: two\n\n");

  expect(await two).toEqual({ event: "note", data: "two", lastEventId: "7" });
  expect(opened).toEqual([200, 200]);
});

test("a stream moves to the new run after a swap, while the old one still serves", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const [old, now] = [await observedBackend(), await observedBackend()];
  const one = next();
  plugin.ready(old, 1);
  const [, draining] = await old.next();
  const left = new Promise((resolve) => draining.on("close", resolve));
  writeStream(draining, "data: one\n\n");
  await one;

  const two = next();
  plugin.ready(now, 2);
  const [, response] = await now.next();
  writeStream(response, "data: two\n\n");
  expect((await two).data).toBe("two");
  await left;
});

test("a stream waits for a failed sidecar until it is started again", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const one = next();
  plugin.sendStatus("failed", { failure: plugin.failure("spawn") });
  const server = await observedBackend();
  plugin.ready(server, 2);
  const [, response] = await server.next();
  writeStream(response, "data: back\n\n");
  expect((await one).data).toBe("back");
});

test("a stream that the backend ends is requested again after the delay of its `retry` field", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const server = await observedBackend();
  const one = next();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  writeStream(response, "retry: 1\n\nid: a\ndata: 1\n\nid: bü🚀\n\n");
  response.end();
  expect((await one).data).toBe("1");

  const two = next();
  const [request, again] = await server.next();
  // An id counts also without data: https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage.
  const resumedAfter = Buffer.from(String(request.headers["last-event-id"]), "latin1").toString();
  expect(resumedAfter).toBe("bü🚀");
  writeStream(again, "data: 2\n\n");
  expect(await two).toMatchObject({ data: "2", lastEventId: "bü🚀" });
});

test("a stream with `retry: 0` is not requested without a delay", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const plugin = fakePlugin();
  const ended = "retry: 0\n\ndata: 1\n\n";
  const answer = async () => new Response(ended, { headers: { "content-type": "text/event-stream" } });
  const fetched = vi.spyOn(globalThis, "fetch").mockImplementation(answer);
  onTestFinished(() => fetched.mockRestore());
  const { next } = subscribe(plugin.name);
  const one = next();
  plugin.sendStatus("ready", { url: "http://127.0.0.1:1", port: 1, pid: 1 });
  await one;

  const two = next();
  await vi.advanceTimersByTimeAsync(99);
  expect(fetched).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1);
  expect((await two).data).toBe("1");
  expect(fetched).toHaveBeenCalledTimes(2);
});

test("the stream is parsed as the standard says, at any chunk boundaries", async () => {
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
  // A network cuts chunks anywhere; this response cuts them at every `size` bytes.
  const respond = (size: number) => {
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
  plugin.sendStatus("ready", { url: "http://127.0.0.1:1", port: 1, pid: 1 });

  for (const size of [bytes.length, 1, 2, 3, 7]) {
    fetched.mockResolvedValueOnce(respond(size)).mockResolvedValueOnce(new Response(null, { status: 204 }));
    const seen: ServerSentEvent[] = [];
    for await (const event of sidecar(plugin.name).events("/")) seen.push(event);
    expect(seen).toEqual(expected);
  }
});

test("only one byte order mark is removed", async () => {
  const plugin = fakePlugin();
  const { next } = subscribe(plugin.name);
  const server = await observedBackend();
  const one = next();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  writeStream(response, "\uFEFF\uFEFFdata: 1\n\ndata: 2\n\n");
  expect((await one).data).toBe("2");
});

test("ending the loop closes the connection", async () => {
  const plugin = fakePlugin();
  const server = await observedBackend();
  const left = deferred();
  const loop = (async () => {
    for await (const { data } of sidecar(plugin.name).events("/changes")) return data;
  })();
  plugin.ready(server, 1);
  const [, response] = await server.next();
  response.on("close", () => left.resolve());
  writeStream(response, "data: 1\n\ndata: 2\n\n");
  expect(await loop).toBe("1");
  await left.promise;
});

test("an abort ends the iteration without an error: while it waits, while it reads, and before it begins", async () => {
  const plugin = fakePlugin();
  const server = await observedBackend();

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
  writeStream(response, "data: 1\n\ndata: 2\n\n");
  await one;
  reading.abort();
  expect((await second.events.next()).done).toBe(true);
  await left;

  expect((await subscribe(plugin.name, { signal: reading.signal }).events.next()).done).toBe(true);
  expect(server.requests).toHaveLength(1);
});

test("a 204 ends the iteration, and a response that is not an event stream is an error that holds it", async () => {
  const plugin = fakePlugin();
  const server = await observedBackend();
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
  expect(error.message).toContain("responded with 404 and application/json");
  expect(error.response.status).toBe(404);
});

test("the caller's headers and last event id are sent", async () => {
  const plugin = fakePlugin();
  const server = await observedBackend();
  const headers = { authorization: "Bearer t" };
  const one = subscribe(plugin.name, { headers, lastEventId: "41" }).next();
  plugin.ready(server, 1);
  const [request, response] = await server.next();
  expect(request.headers).toMatchObject({ authorization: "Bearer t", "last-event-id": "41" });
  writeStream(response, "data: 1\n\n");
  expect((await one).lastEventId).toBe("41");
});

test("the sixth stream to a server warns once, and streams that have ended do not count", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const plugin = fakePlugin();
  const server = await backend((_, response) => writeStream(response, "data: x\n\n"));
  const open = async (began = () => {}) => {
    const { events, next } = subscribe(plugin.name);
    const first = next();
    began();
    await first;
    return events;
  };
  await (await open(() => plugin.ready(server, 1))).return();
  for (let ended = 0; ended < 6; ended++) await (await open()).return();
  const streams = [await open(), await open(), await open(), await open(), await open()];
  expect(warn).not.toHaveBeenCalled();
  streams.push(await open(), await open());
  expect(warn).toHaveBeenCalledOnce();
  expect(warn.mock.lastCall?.[0]).toMatch(
    /6 event streams to http:\/\/127\.0\.0\.1:\d+, and a webview opens 6 connections/,
  );
  warn.mockRestore();
  for (const stream of streams) await stream.return();
});
