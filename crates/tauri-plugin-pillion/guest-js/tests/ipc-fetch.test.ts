// @vitest-environment node
import { createHash } from "node:crypto";
import type { ServerResponse } from "node:http";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { decode, encode } from "../ipc-message.js";
import { proxied, rejection } from "./http-proxy.js";
import { bodyOf, deferred } from "./plugin.js";

test("a request and its response pass through the app unchanged", async () => {
  const { backend, requested, name } = await proxied(async (request, response) => {
    const body = await bodyOf(request);
    response.writeHead(201, "Noted", { "content-type": "text/plain", "x-name": "ü" });
    response.end(`${request.method} ${request.url} ${request.headers["content-type"]} ${body}`);
  });
  const answer = await backend.fetch("/a/../notes?page=2#top", { method: "POST", body: "größer" });
  expect([answer.status, answer.statusText]).toEqual([201, "Noted"]);
  expect(answer.headers.get("x-name")).toBe("ü");
  expect(answer.url).toBe("http://localhost/notes?page=2");
  expect(await answer.text()).toBe("POST /notes?page=2 text/plain;charset=UTF-8 größer");
  expect(requested.map(({ sidecar, path }) => [sidecar, path])).toEqual([[name, "/notes?page=2"]]);
});

test("binary bodies pass through unchanged", async () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const { backend } = await proxied((request, response) => void request.pipe(response));
  const answer = await backend.fetch("/", { method: "PUT", body: all });
  expect(new Uint8Array(await answer.arrayBuffer())).toEqual(all);
});

test.each(["with the head", "in chunks"])("a compressed body is decoded (%s)", async (arrival) => {
  const text = '{"a":1}'.repeat(1000);
  const bodies: Record<string, [coding: string, body: Buffer]> = {
    "/gzip": ["gzip", gzipSync(text)],
    "/x-gzip": ["X-Gzip", gzipSync(text)],
    "/deflate": ["deflate", deflateSync(text)],
    "/twice": ["deflate, gzip", gzipSync(deflateSync(text))],
    "/identity": ["identity", Buffer.from(text)],
  };
  const { backend, requested } = await proxied(({ url }, response) => {
    const [coding, body] = bodies[url ?? ""] ?? ["", Buffer.alloc(0)];
    const length = arrival === "with the head" ? { "content-length": body.length } : {};
    response.writeHead(200, { "content-encoding": coding, ...length });
    for (let at = 0; at < body.length; at += 10) response.write(body.subarray(at, at + 10));
    response.end();
  });
  for (const path of Object.keys(bodies)) {
    const response = await backend.fetch(path);
    expect(await response.text()).toBe(text);
    expect(response.headers.get("content-encoding")).toBe(bodies[path]?.[0]);
  }
  for (const { headers } of requested) expect(headers).toContainEqual(["accept-encoding", "identity"]);
});

test.each(["with the head", "in chunks"])(
  "a status that no response can have is a network error (%s)",
  async (arrival) => {
    const { backend } = await proxied((_, response) => {
      response.writeHead(999, arrival === "with the head" ? { "content-length": 2 } : {}).end("hi");
    });
    expect(await rejection(backend.fetch("/"))).toBeInstanceOf(TypeError);
  },
);

test("a compressed body that breaks off rejects where it is read", async () => {
  const body = gzipSync("text".repeat(1000));
  const { backend } = await proxied((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" }).end(body.subarray(0, -10));
  });
  const response = await backend.fetch("/");
  // A webview rejects with a TypeError, Node with an error of zlib.
  expect(await rejection(response.text())).toBeInstanceOf(Error);
});

test("a content coding that the webview cannot decode is an error that names it, and is cancelled", async () => {
  const { backend, requested, cancelled } = await proxied(({ url }, response) => {
    response.writeHead(200, { "content-encoding": url === "/br" ? "br" : "rot13" });
    response.write(brotliCompressSync("text"));
  });
  vi.stubGlobal("DecompressionStream", undefined);
  for (const [path, coding] of [
    ["/br", "br"],
    ["/other", "rot13"],
  ] as const) {
    expect(await rejection(backend.fetch(path))).toMatchObject({
      name: "TypeError",
      message: expect.stringContaining(coding),
    });
  }
  expect(await cancelled).toBe(requested[0]?.id);
});

test("cancelling a compressed body cancels it in the app", async () => {
  const { backend, requested, cancelled } = await proxied((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" }).write(gzipSync("begun").subarray(0, 12));
  });
  const response = await backend.fetch("/");
  await response.body?.cancel();
  expect(await cancelled).toBe(requested[0]?.id);
});

test("integrity is checked", async () => {
  const { backend } = await proxied((_, response) => void response.end("text"));
  const digest = (algorithm: string, text: string) =>
    `${algorithm}-${createHash(algorithm).update(text).digest("base64")}`;
  for (const integrity of [
    digest("sha256", "text"),
    `${digest("sha256", "other")} ${digest("sha512", "text")}`,
    `${digest("sha384", "other")} ${digest("sha384", "text")}?option`,
    "md5-unknown",
  ]) {
    const response = await backend.fetch("/a", { integrity });
    expect([response.status, response.statusText]).toEqual([200, "OK"]);
    expect([response.url, await response.text()]).toEqual(["http://localhost/a", "text"]);
  }
  for (const integrity of [
    digest("sha256", "other"),
    `${digest("sha256", "text")} ${digest("sha384", "other")}`,
  ]) {
    const error = await rejection(backend.fetch("/", { integrity }));
    expect(error).toMatchObject({ name: "TypeError", message: expect.stringContaining(integrity) });
  }
});

test.each([
  ["mode", "no-cors"],
  ["mode", "same-origin"],
  ["credentials", "include"],
  ["keepalive", true],
  ["referrerPolicy", "unsafe-url"],
])("the option %s: %j rejects with its name, and nothing is sent", async (name, value) => {
  const { backend, server } = await proxied((_, response) => void response.end());
  const error = await rejection(backend.fetch("/", { [name]: value }));
  expect(error).toMatchObject({ name: "TypeError", message: expect.stringContaining(`${name}: `) });
  expect(server.requests).toEqual([]);
});

test("the option cache: only-if-cached rejects with its name, because there is no cache", async () => {
  const { backend, server } = await proxied((_, response) => void response.end());
  // The constructor of `Request` allows it only with `mode: "same-origin"`, which is checked first.
  const error = await rejection(backend.fetch("/", { cache: "only-if-cached", mode: "same-origin" }));
  expect(error).toMatchObject({ name: "TypeError", message: expect.stringContaining("mode: ") });
  expect(server.requests).toEqual([]);
});

test.each([
  ["default", undefined, undefined],
  ["force-cache", undefined, undefined],
  ["no-cache", "max-age=0", undefined],
  ["no-store", "no-cache", "no-cache"],
  ["reload", "no-cache", "no-cache"],
] as const)("the option cache: %s sends the headers of `fetch`", async (cache, control, pragma) => {
  const { backend, requested } = await proxied((_, response) => void response.end());
  await backend.fetch("/", { cache });
  const headers = Object.fromEntries(requested[0]?.headers ?? []);
  expect([headers["cache-control"], headers.pragma]).toEqual([control, pragma]);
});

test("a 204 has no body", async () => {
  const { backend } = await proxied((_, response) => void response.writeHead(204).end());
  const answer = await backend.fetch("/");
  expect([answer.status, answer.body]).toEqual([204, null]);
});

test("events arrive one by one, before the stream ends", async () => {
  const stream = deferred<ServerResponse>();
  const { backend, requested, cancelled } = await proxied((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write("data: 0\n\n");
    stream.resolve(response);
  });
  const events = backend.events("/events");
  expect((await events.next()).value?.data).toBe("0");
  (await stream.promise).write("data: 1\n\n");
  expect((await events.next()).value?.data).toBe("1");
  await events.return();
  expect(await cancelled).toBe(requested[0]?.id);
});

test("at most one small chunk of a body is read ahead", async () => {
  const { backend, reads } = await proxied((_, response) => {
    for (let chunk = 0; chunk < 9; chunk++) response.write("x".repeat(1_000));
    response.end();
  });
  const answer = await backend.fetch("/");
  const reader = answer.body?.getReader();
  await reader?.read();
  await vi.waitUntil(() => reads.length === 2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(reads).toEqual([0, 1]);
});

test("large chunks of a body are read several at a time, and arrive in order", async () => {
  const { backend } = await proxied((_, response) => response.flushHeaders());
  const reads: { place: number; deliver: () => void }[] = [];
  const { __TAURI_INTERNALS__: internals } = window as unknown as {
    __TAURI_INTERNALS__: { invoke(command: string, args: { place: number }): Promise<unknown> };
  };
  const { invoke } = internals;
  const chunks = 6;
  internals.invoke = (command, args) => {
    if (command !== "plugin:pillion|read") return invoke(command, args);
    const { place } = args;
    return new Promise((resolve, reject) => {
      const deliver = () => {
        if (place > chunks) reject("there is no such request");
        resolve(new Uint8Array(place < chunks ? 64 * 1024 : 0).fill(place).buffer);
      };
      reads.push({ place, deliver });
    });
  };
  const answer = await backend.fetch("/");
  const body = answer.arrayBuffer();
  await vi.waitUntil(() => reads.length === 1);
  reads[0]?.deliver();
  await vi.waitUntil(() => reads.length === 4);
  // A later call may be answered earlier.
  for (let at = 3; at > 0; at--) reads[at]?.deliver();
  await vi.waitUntil(() => reads.length === 7);
  for (let at = 6; at > 3; at--) reads[at]?.deliver();
  const bytes = new Uint8Array(await body);
  expect(reads.map(({ place }) => place)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(bytes).toEqual(Uint8Array.from({ length: chunks * 64 * 1024 }, (_, at) => Math.floor(at / 65_536)));
});

test("aborting a request cancels it in the app", async () => {
  const { backend, requested, cancelled } = await proxied(() => {});
  const abort = new AbortController();
  const never = rejection(backend.fetch("/", { signal: abort.signal }));
  await vi.waitUntil(() => requested.length === 1);
  const reason = new Error("enough");
  abort.abort(reason);
  expect(await never).toBe(reason);
  expect(await cancelled).toBe(requested[0]?.id);
});

test("aborting a response cancels it in the app", async () => {
  const { backend, requested, cancelled } = await proxied((_, response) => void response.write("begun"));
  const abort = new AbortController();
  const answer = await backend.fetch("/", { signal: abort.signal });
  const text = rejection(answer.text());
  const reason = new Error("enough");
  abort.abort(reason);
  expect(await text).toBe(reason);
  expect(await cancelled).toBe(requested[0]?.id);
});

test("cancelling a body cancels it in the app", async () => {
  const { backend, requested, cancelled } = await proxied((_, response) => void response.write("begun"));
  const answer = await backend.fetch("/");
  await answer.body?.cancel();
  expect(await cancelled).toBe(requested[0]?.id);
});

test("a body that breaks off rejects where it is read", async () => {
  const { backend, server } = await proxied((_, response) => void response.write("begun"));
  const answer = await backend.fetch("/");
  const reader = answer.body?.getReader();
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("begun");
  const rest = rejection(reader?.read() as Promise<unknown>);
  await server.crash();
  expect(await rest).toBeInstanceOf(TypeError);
});

test("redirects are followed within the sidecar", async () => {
  const { backend, server } = await proxied((request, response) => {
    if (request.url === "/here") return void response.end(request.method);
    response.writeHead(request.url === "/kept" ? 307 : 303, { location: "/here", "content-length": 0 }).end();
  });
  const post = { method: "POST", body: "b" };
  expect(await (await backend.fetch("/", post)).text()).toBe("GET");
  expect(await (await backend.fetch("/kept", post)).text()).toBe("POST");
  expect((await backend.fetch("/", { redirect: "manual" })).status).toBe(303);
  expect(server.requests).toEqual(["POST /", "GET /here", "POST /kept", "POST /here", "GET /"]);
});

test("a redirect to another origin is not followed", async () => {
  const { backend, requested } = await proxied((_, response) => {
    response.writeHead(302, { location: "http://localhost:1/", "content-length": 0 }).end();
  });
  expect(await rejection(backend.fetch("/"))).toBeInstanceOf(TypeError);
  expect(requested).toHaveLength(1);
});

test("a message can be bytes or an array of numbers", () => {
  const message = encode({ status: 200 }, new Uint8Array([0, 255]).buffer) as Uint8Array<ArrayBuffer>;
  for (const form of [message.buffer, Array.from(message)]) {
    expect(decode(form)).toEqual({ head: { status: 200 }, body: new Uint8Array([0, 255]) });
  }
});

test("a Request with its body passes through the app, whether its base is that of any sidecar or of this one", async () => {
  const { backend, requested } = await proxied(async (request, response) => {
    const body = await bodyOf(request);
    response.setHeader("content-length", body.length).end(body);
  });
  for (const base of [backend.baseUrl, "http://localhost", "pillion://localhost"]) {
    const answer = await backend.fetch(new Request(`${base}/notes?page=2`, { method: "PUT", body: base }));
    expect(await answer.text()).toBe(base);
    expect(requested.at(-1)).toMatchObject({ method: "PUT", path: "/notes?page=2" });
  }
  const foreign = backend.fetch("http://127.0.0.1/notes");
  expect(await rejection(foreign)).toMatchObject({ name: "TypeError", message: /not sent/ });
  expect(requested).toHaveLength(3);
});
