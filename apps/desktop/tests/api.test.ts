// @vitest-environment node
import { SidecarError } from "tauri-plugin-pillion-api";
import { expect, test } from "vitest";
import { BackendClient, BackendError, type Transport } from "../src/lib/api";
import { deferred, FakeHost, failure, health, serve } from "./fixtures";

/** A client of a real server that gives every request the same answer. */
async function clientOf(body: string, code = 200): Promise<BackendClient> {
  const port = await serve((_, response) => response.writeHead(code).end(body));
  return new BackendClient({ backendPort: async () => port });
}

async function problemOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(BackendError);
  return (error as BackendError).problem;
}

test("the port is asked for once, however many ask and whenever", async () => {
  const host = new FakeHost();
  const client = new BackendClient(host);

  const early = [client.port(), client.port(), client.url("/x")];
  host.asked[0]?.resolve(4242);

  expect(await Promise.all(early)).toEqual([4242, 4242, "http://127.0.0.1:4242/x"]);
  expect(await client.port()).toBe(4242);
  expect(host.asked).toHaveLength(1);
});

test("a refusal reaches every caller as the failure it is, and is then forgotten", async () => {
  const host = new FakeHost();
  const client = new BackendClient(host);

  const callers = [client.port(), client.healthCheck()];
  host.asked[0]?.reject(new SidecarError(failure));

  for (const caller of callers) expect(await problemOf(caller)).toEqual({ kind: "unavailable", failure });
  const again = client.port();
  host.asked[1]?.resolve(4343);
  expect(await again).toBe(4343);
});

test("a rejection that is not about the backend keeps its words", async () => {
  const client = new BackendClient({ backendPort: () => Promise.reject(new Error("not allowed")) });
  await expect(client.port()).rejects.toThrow("not allowed");
  expect(await problemOf(client.port())).toEqual({ kind: "unavailable", failure: null });
});

test("a port told by the status stream is used, replaced and forgotten", async () => {
  const host = new FakeHost();
  const client = new BackendClient(host);

  client.follow(1111);
  expect(await client.port()).toBe(1111);
  client.follow(2222);
  expect(await client.port()).toBe(2222);
  expect(host.asked).toHaveLength(0);

  client.follow(null);
  const asked = client.port();
  host.asked[0]?.resolve(3333);
  expect(await asked).toBe(3333);
});

test("the answer of the host does not displace a port that the stream told meanwhile", async () => {
  const host = new FakeHost();
  const client = new BackendClient(host);

  const early = client.port();
  client.follow(2222);
  host.asked[0]?.resolve(1111);
  await early;

  expect(await client.port()).toBe(2222);
});

test("call sends method, headers and body, and decodes the answer", async () => {
  const port = await serve((request, response) => {
    request.setEncoding("utf8");
    request.on("data", (body: string) => {
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, type: headers["content-type"], body }));
    });
  });
  const client = new BackendClient({ backendPort: async () => port });

  const headers = { "content-type": "application/json" };
  const answer = await client.call("/notes?new=1", { method: "POST", headers, body: '{"a":1}' });

  expect(answer).toEqual({ method: "POST", url: "/notes?new=1", type: "application/json", body: '{"a":1}' });
});

test("an empty answer is undefined", async () => {
  expect(await (await clientOf("", 204)).call("/")).toBeUndefined();
});

test("a status outside 2xx is an http problem with the body", async () => {
  const client = await clientOf("no such note", 404);
  expect(await problemOf(client.call("/notes/9"))).toEqual({
    kind: "http",
    status: 404,
    body: "no such note",
  });
});

test("an answer that is not JSON, or not of the shape asked for, is a decode problem", async () => {
  expect(await problemOf((await clientOf("<html>")).call("/"))).toEqual({ kind: "decode" });
  const shaped = (await clientOf("7")).call("/", {}, () => {
    throw new Error("not a note");
  });
  expect(await problemOf(shaped)).toEqual({ kind: "decode" });
});

test("a port where nothing listens is a network problem", async () => {
  const { createServer } = await import("node:http");
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  await new Promise((closed) => server.close(closed));

  const client = new BackendClient({ backendPort: async () => port });
  expect(await problemOf(client.call("/"))).toEqual({ kind: "network" });
});

test("a connection that breaks inside the body is a network problem", async () => {
  const port = await serve((_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write('{"half":', () => response.destroy());
  });
  const client = new BackendClient({ backendPort: async () => port });
  expect(await problemOf(client.call("/"))).toEqual({ kind: "network" });
});

test("what the caller's signal ended is aborted or timeout, whatever the transport rejects with", async () => {
  const arrived = deferred<void>();
  const port = await serve(() => arrived.resolve());
  const client = new BackendClient({ backendPort: async () => port });
  const controller = new AbortController();

  const call = client.call("/", { signal: controller.signal });
  await arrived.promise;
  controller.abort();
  expect(await problemOf(call)).toEqual({ kind: "aborted" });

  expect(await problemOf(client.call("/", { signal: AbortSignal.timeout(1) }))).toEqual({ kind: "timeout" });

  // plugin-http rejects with strings.
  const stringly: Transport = () => Promise.reject("Request cancelled");
  const plugin = new BackendClient({ backendPort: async () => port }, stringly);
  expect(await problemOf(plugin.call("/", { signal: AbortSignal.abort() }))).toEqual({ kind: "aborted" });
  expect(await problemOf(plugin.call("/"))).toEqual({ kind: "network" });
});

test("healthCheck answers what the protocol promises, and what else it knows", async () => {
  const full = health({ instance: "n0nce" });
  expect(await (await clientOf(JSON.stringify({ ...full, more: 1 }))).healthCheck()).toEqual(full);

  const least = { status: "ok", app: "AIOS", timestamp: 1, uptime: 0 };
  expect(await (await clientOf(JSON.stringify({ ...least, version: null }))).healthCheck()).toEqual(least);
});

test.each([
  ["null", null],
  ["another status", { ...health(), status: "degraded" }],
  ["no uptime", { ...health(), uptime: undefined }],
  ["an uptime in words", { ...health(), uptime: "61" }],
  ["a version that is no string", { ...health(), version: 3 }],
])("healthCheck refuses %s", async (_, body) => {
  const client = await clientOf(JSON.stringify(body));
  expect(await problemOf(client.healthCheck())).toEqual({ kind: "decode" });
});
