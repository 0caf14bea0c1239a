// @vitest-environment node
import { Interrupted, SidecarError } from "tauri-plugin-pillion-api";
import { expect, test } from "vitest";
import { BackendClient, BackendError, type FetchBackend } from "../src/lib/api";
import { deferred, failure, health, serve } from "./fixtures";

/** The host's `fetch`, for a backend that is always up. */
function fetchFrom(port: number): FetchBackend {
  return (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
}

/** A client of a real server that gives every request the same response. */
async function clientOf(body: string, code = 200): Promise<BackendClient> {
  return new BackendClient(fetchFrom(await serve((_, response) => response.writeHead(code).end(body))));
}

async function problemOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(BackendError);
  return (error as BackendError).problem;
}

test("a backend that is down is `unavailable`, with its failure; one that ended during the call is `interrupted`", async () => {
  const gone = new BackendClient(() => Promise.reject(new SidecarError(failure)));
  expect(await problemOf(gone.call("/"))).toEqual({ kind: "unavailable", failure });

  const interrupted = new BackendClient(() => Promise.reject(new Interrupted("backend", failure, null)));
  expect(await problemOf(interrupted.call("/", { method: "POST" }))).toEqual({ kind: "interrupted" });
});

test("a rejection that is not about the backend keeps its message", async () => {
  const client = new BackendClient(() => Promise.reject(new Error("not allowed")));
  await expect(client.call("/")).rejects.toThrow("not allowed");
  expect(await problemOf(client.call("/"))).toEqual({ kind: "unavailable", failure: null });
});

test("a health check goes only to the current run: it does not wait, and is not repeated", async () => {
  const requests: unknown[] = [];
  const client = new BackendClient(async (...request) => {
    requests.push(request);
    return Response.json(health());
  });
  await client.healthCheck();
  expect(requests).toEqual([
    ["/health", expect.objectContaining({ connectTimeout: 0, retry: false, cache: "no-store" })],
  ]);
});

test("call sends method, headers and body, and decodes the response", async () => {
  const port = await serve((request, response) => {
    request.setEncoding("utf8");
    request.on("data", (body: string) => {
      const { method, url, headers } = request;
      response.end(JSON.stringify({ method, url, type: headers["content-type"], body }));
    });
  });
  const client = new BackendClient(fetchFrom(port));

  const headers = { "content-type": "application/json" };
  const answer = await client.call("/notes?new=1", { method: "POST", headers, body: '{"a":1}' });

  expect(answer).toEqual({ method: "POST", url: "/notes?new=1", type: "application/json", body: '{"a":1}' });
});

test("an empty response is undefined", async () => {
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

test("a response that is not JSON, or not of the expected shape, is a decode problem", async () => {
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

  const client = new BackendClient(fetchFrom(port));
  expect(await problemOf(client.call("/"))).toEqual({ kind: "network" });
});

test("a connection that breaks inside the body is a network problem", async () => {
  const port = await serve((_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write('{"half":', () => response.destroy());
  });
  const client = new BackendClient(fetchFrom(port));
  expect(await problemOf(client.call("/"))).toEqual({ kind: "network" });
});

test("a call that the signal ended is aborted or timeout, whatever `fetch` rejects with", async () => {
  const arrived = deferred<void>();
  const port = await serve(() => arrived.resolve());
  const client = new BackendClient(fetchFrom(port));
  const controller = new AbortController();

  const call = client.call("/", { signal: controller.signal });
  await arrived.promise;
  controller.abort();
  expect(await problemOf(call)).toEqual({ kind: "aborted" });

  expect(await problemOf(client.call("/", { signal: AbortSignal.timeout(1) }))).toEqual({ kind: "timeout" });

  // tauri-plugin-http, for example, rejects with strings.
  const rejectsWithString: FetchBackend = () => Promise.reject("Request cancelled");
  const plugin = new BackendClient(rejectsWithString);
  expect(await problemOf(plugin.call("/", { signal: AbortSignal.abort() }))).toEqual({ kind: "aborted" });
  expect(await problemOf(plugin.call("/"))).toEqual({ kind: "network" });
});

test("healthCheck returns the required fields and the known optional ones", async () => {
  const full = health({ instance: "n0nce" });
  expect(await (await clientOf(JSON.stringify({ ...full, more: 1 }))).healthCheck()).toEqual(full);

  const least = { status: "ok", app: "AIOS", timestamp: 1, uptime: 0 };
  expect(await (await clientOf(JSON.stringify({ ...least, version: null }))).healthCheck()).toEqual(least);
});

test.each([
  ["null", null],
  ["another status", { ...health(), status: "degraded" }],
  ["no uptime", { ...health(), uptime: undefined }],
  ["an uptime that is a string", { ...health(), uptime: "61" }],
  ["a version that is not a string", { ...health(), version: 3 }],
])("healthCheck rejects %s", async (_, body) => {
  const client = await clientOf(JSON.stringify(body));
  expect(await problemOf(client.healthCheck())).toEqual({ kind: "decode" });
});
