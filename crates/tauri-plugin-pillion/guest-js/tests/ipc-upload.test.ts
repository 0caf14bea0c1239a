// @vitest-environment node
import { createHash } from "node:crypto";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { proxied, rejection } from "./http-proxy.js";
import { bodyOf, deferred } from "./plugin.js";

const MEGABYTE = 1024 * 1024;
const text = (string: string) => new TextEncoder().encode(string);

test("a stream arrives piece by piece, before its end", async () => {
  const arrived = deferred<string>();
  const { backend, requested, pieces } = await proxied(async (request, response) => {
    request.once("data", (first: Buffer) => arrived.resolve(String(first)));
    const { "content-length": length = "no length", "transfer-encoding": coding } = request.headers;
    response.end(`${length}, ${coding}: ${await bodyOf(request)}`);
  });
  let answered = false;
  let pulled = 0;
  const body = new ReadableStream({
    async pull(controller) {
      pulled += 1;
      if (pulled === 1) return controller.enqueue(text("first "));
      // The sidecar has the first chunk before the page has the second.
      expect(await arrived.promise).toBe("first ");
      expect(answered).toBe(false);
      controller.enqueue(text("last"));
      controller.close();
    },
  });
  const response = await backend.fetch("/", { method: "POST", body, headers: { "x-a": "1" } });
  answered = true;
  expect(await response.text()).toBe("no length, chunked: first last");
  expect(pieces).toEqual([6, 4]);
  // As with `fetch`, a stream has no content type.
  expect(requested[0]?.headers.map(([name]) => name).sort()).toEqual(["accept", "accept-encoding", "x-a"]);
});

test("a chunk may be of another window", async () => {
  const { backend } = await proxied(async (request, response) => response.end(await bodyOf(request)));
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(runInNewContext("new Uint8Array([97, 98])"));
      controller.close();
    },
  });
  const response = await backend.fetch("/", { method: "POST", body });
  expect(await response.text()).toBe("ab");
});

test("small chunks travel together while the app takes others, and large ones are divided", async () => {
  const sizes = [1, ...Array<number>(1000).fill(10), 3 * MEGABYTE + 1];
  const { backend, pieces, hold } = await proxied(async (request, response) => {
    response.end(String((await bodyOf(request)).length));
  });
  const taken = deferred();
  hold(taken.promise);
  const body = new ReadableStream({
    pull(controller) {
      const size = sizes.shift();
      // The app takes the first piece when the page has all small ones.
      if (sizes.length === 0) taken.resolve();
      if (size === undefined) return controller.close();
      controller.enqueue(new Uint8Array(size));
    },
  });
  const response = await backend.fetch("/", { method: "PUT", body });
  expect(await response.text()).toBe(String(1 + 10_000 + 3 * MEGABYTE + 1));
  expect(pieces.reduce((sum, size) => sum + size)).toBe(1 + 10_000 + 3 * MEGABYTE + 1);
  expect(Math.max(...pieces)).toBeLessThanOrEqual(MEGABYTE);
  expect(pieces.length).toBeLessThanOrEqual(6);
});

test("a large Blob and a form with one are sent in pieces, with their length and type", async () => {
  const bytes = new Uint8Array(2 * MEGABYTE + 5).map((_, at) => at % 251);
  const { backend, pieces } = await proxied(async (request, response) => {
    const hash = createHash("sha256");
    let length = 0;
    for await (const chunk of request) {
      hash.update(chunk);
      length += (chunk as Buffer).length;
    }
    const { "content-length": announced, "content-type": type } = request.headers;
    response.end(JSON.stringify([announced === String(length), length, type, hash.digest("hex")]));
  });
  const blob = new Blob([bytes], { type: "image/png" });
  const post = async (body: Blob | FormData) => (await backend.fetch("/", { method: "POST", body })).json();
  const digest = createHash("sha256").update(bytes).digest("hex");
  expect(await post(blob)).toEqual([true, bytes.length, "image/png", digest]);
  expect(pieces.splice(0)).toEqual([MEGABYTE, MEGABYTE, 5]);
  const form = new FormData();
  form.set("file", blob, "picture.png");
  const [hasLength, length, type] = await post(form);
  expect([hasLength, type]).toEqual([true, expect.stringMatching(/^multipart\/form-data; ?boundary=/)]);
  expect(length).toBeGreaterThan(bytes.length);
  expect(pieces.splice(0).length).toBe(3);
  // Small ones take one call.
  await post(blob.slice(0, MEGABYTE));
  form.set("file", "text");
  await post(form);
  expect(pieces).toEqual([]);
});

test("a form with files is encoded as by the platform", async () => {
  const { backend } = await proxied(async (request, response) => void response.end(await bodyOf(request)));
  const form = new FormData();
  form.set('a "b"\n', "one\ntwo\r\n");
  form.set("file", new Blob(["text"]), 'a "b".txt');
  form.append("file", new File(["{}"], "ü.json", { type: "application/json" }));
  const ours = await (await backend.fetch("/", { method: "POST", body: form })).text();
  const theirs = await new Response(form).text();
  const withoutBoundary = (text: string) => text.trim().replaceAll(/^--\S*?(--)?$/gm, "boundary$1");
  expect(withoutBoundary(ours)).toBe(withoutBoundary(theirs));
});

test("the stream is read no faster than the sidecar reads", async () => {
  const read = deferred();
  const { backend } = await proxied(async (request, response) => {
    response.setHeader("content-length", 0);
    if (request.method === "POST") await read.promise;
    for await (const _ of request);
    response.end();
  });
  let pulled = 0;
  const body = new ReadableStream({
    pull(controller) {
      pulled += 1;
      if (pulled > 200) return controller.close();
      controller.enqueue(new Uint8Array(MEGABYTE));
    },
  });
  const response = backend.fetch("/", { method: "POST", body });
  // Other requests give the page enough time to read all of it.
  for (let at = 0; at < 100; at += 1) await backend.fetch("/");
  // Three megabytes in the page, and what the fake of the app and the buffers of the TCP connection hold.
  expect(pulled).toBeLessThan(16);
  read.resolve();
  expect((await response).status).toBe(200);
  expect(pulled).toBe(201);
});

test("an answer before the end of the stream ends the upload", async () => {
  const { backend } = await proxied((_, response) => {
    response.writeHead(413, { "content-length": 5 }).end("large");
  });
  const cancelled = deferred<unknown>();
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(text("first")),
    cancel: () => cancelled.resolve(null),
  });
  const response = await backend.fetch("/", { method: "POST", body });
  expect([response.status, await response.text()]).toEqual([413, "large"]);
  await cancelled.promise;
});

test("a sidecar may answer while the body is sent", async () => {
  const { backend } = await proxied((request, response) => {
    response.writeHead(200);
    request.pipe(response);
  });
  let more!: (chunk: string | null) => void;
  const body = new ReadableStream({
    start(controller) {
      more = (chunk) => (chunk === null ? controller.close() : controller.enqueue(text(chunk)));
    },
  });
  more("first");
  const response = await backend.fetch("/", { method: "POST", body });
  const reader = response.body?.getReader();
  expect((await reader?.read())?.value).toEqual(text("first"));
  more("second");
  expect((await reader?.read())?.value).toEqual(text("second"));
  more(null);
  expect((await reader?.read())?.done).toBe(true);
});

test("an error of the stream rejects the request and breaks it off", async () => {
  const arrived = deferred();
  const brokenOff = deferred();
  const { backend, cancelled, requested } = await proxied((request) => {
    request.on("error", () => brokenOff.resolve()).once("data", () => arrived.resolve());
  });
  let pulled = 0;
  const body = new ReadableStream({
    async pull(controller) {
      pulled += 1;
      if (pulled === 1) return controller.enqueue(text("first"));
      await arrived.promise;
      controller.error(new Error("no more"));
    },
  });
  const error = await rejection(backend.fetch("/", { method: "POST", body }));
  expect(error).toBeInstanceOf(TypeError);
  expect(String(error)).toContain("no more");
  expect(await cancelled).toBe(requested[0]?.id);
  await brokenOff.promise;
});

test.each([
  [undefined, "undefined"],
  ["enough", "enough"],
])("a stream may fail with any value: %s", async (reason, message) => {
  const { backend } = await proxied((request) => void request.resume());
  const body = new ReadableStream({ pull: (controller) => controller.error(reason) });
  const error = await rejection(backend.fetch("/", { method: "POST", body }));
  expect(error).toBeInstanceOf(TypeError);
  expect(error).toMatchObject({ message });
});

test("a file is sent again after the next run rejected the token of the last one, and a stream is not", async () => {
  const { backend, requested, supersede } = await proxied(async (request, response) => {
    response.end(String((await bodyOf(request)).length));
  });
  const bytes = new Uint8Array(MEGABYTE + 1);
  const post = (body: Blob | ReadableStream) => backend.fetch("/", { method: "POST", body });
  supersede();
  expect(await (await post(new Blob([bytes]))).text()).toBe(String(bytes.length));
  expect(requested.length).toBe(2);
  expect(requested[0]?.id).not.toBe(requested[1]?.id);
  supersede();
  expect(await rejection(post(new Blob([bytes]).stream()))).toMatchObject({ message: /has ended/ });
  expect(requested.length).toBe(3);
});

test("a chunk that is not bytes is an error", async () => {
  const { backend } = await proxied((request) => void request.resume());
  const body = new ReadableStream({ start: (controller) => controller.enqueue("text") });
  expect(await rejection(backend.fetch("/", { method: "POST", body }))).toBeInstanceOf(TypeError);
});

test("an abort breaks the upload off and cancels the stream", async () => {
  const arrived = deferred();
  const brokenOff = deferred();
  const { backend } = await proxied((request) => {
    request.on("error", () => brokenOff.resolve()).once("data", () => arrived.resolve());
  });
  const stopped = deferred<unknown>();
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(text("first")),
    cancel: stopped.resolve,
  });
  const controller = new AbortController();
  const response = rejection(backend.fetch("/", { method: "POST", body, signal: controller.signal }));
  await arrived.promise;
  controller.abort("enough");
  expect([await response, await stopped.promise]).toEqual(["enough", "enough"]);
  await brokenOff.promise;
});

test("a stream is not sent again: neither by a redirect other than 303, nor by GET", async () => {
  const { backend, server } = await proxied((request, response) => {
    request.resume();
    const status = Number(request.url?.slice(1)) || 200;
    response.writeHead(status, { location: "/", "content-length": 0 }).end();
  });
  const stream = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(text("body"));
        controller.close();
      },
    });
  const post = (path: string, body: ReadableStream | Blob) => backend.fetch(path, { method: "POST", body });
  expect(await rejection(post("/307", stream()))).toMatchObject({ message: /is a stream/ });
  expect(await rejection(post("/302", stream()))).toMatchObject({ message: /is a stream/ });
  expect((await post("/303", stream())).status).toBe(200);
  expect((await post("/307", new Blob([new Uint8Array(MEGABYTE + 1)]))).status).toBe(200);
  expect(server.requests).toEqual(["POST /307", "POST /302", "POST /303", "GET /", "POST /307", "POST /"]);
  expect(await rejection(backend.fetch("/", { body: stream() }))).toBeInstanceOf(TypeError);
  const locked = stream();
  locked.getReader();
  expect(await rejection(post("/", locked))).toBeInstanceOf(TypeError);
});
