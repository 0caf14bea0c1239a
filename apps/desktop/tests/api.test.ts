// @vitest-environment node
import { Interrupted, SidecarError } from "tauri-plugin-pillion-api";
import { expect, test } from "vitest";
import { BackendClient, BackendError } from "../src/lib/api";
import type { Host } from "../src/lib/tauri";
import { deferred, failure, health, hostWith, serve } from "./fixtures";

/** A host whose backend is always up. */
function hostOf(port: number): Pick<Host, "fetch" | "baseUrl"> {
  return { baseUrl: `http://127.0.0.1:${port}`, fetch };
}

/** A client of a real server that gives every request the same response. */
async function clientOf(body: string, code = 200): Promise<BackendClient> {
  return new BackendClient(hostOf(await serve((_, response) => response.writeHead(code).end(body))));
}

/** Calls the backend without a check of the response. */
const read = (client: BackendClient, signal?: AbortSignal) =>
  client.call((api) => api.GET("/health", { ...(signal && { signal }) }));

async function problemOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(BackendError);
  return (error as BackendError).problem;
}

test("a backend that is down is `unavailable`, with its failure; one that ended during the call is `interrupted`", async () => {
  const gone = new BackendClient(hostWith(() => Promise.reject(new SidecarError(failure))));
  expect(await problemOf(read(gone))).toEqual({ kind: "unavailable", failure });

  const ended = new Interrupted("backend", failure, null);
  const interrupted = new BackendClient(hostWith(() => Promise.reject(ended)));
  expect(await problemOf(read(interrupted))).toEqual({ kind: "interrupted" });
});

test("a rejection that is not about the backend keeps its message", async () => {
  const client = new BackendClient(hostWith(() => Promise.reject(new Error("not allowed"))));
  await expect(read(client)).rejects.toThrow("not allowed");
  expect(await problemOf(read(client))).toEqual({ kind: "unavailable", failure: null });
});

test("a health check goes only to the current run: it does not wait, and is not repeated", async () => {
  const requests: unknown[] = [];
  const record: Host["fetch"] = async (...request) => {
    requests.push(request);
    return Response.json(health());
  };
  await new BackendClient(hostWith(record)).healthCheck();
  // `retry` and `connectTimeout` are the options of the sidecar's `fetch`.
  const url = "http://sidecar.invalid/health";
  const sent = { method: "GET", url, cache: "no-store", retry: false, connectTimeout: 0 };
  expect(requests).toEqual([[expect.objectContaining(sent)]]);
});

test("an empty response is undefined", async () => {
  expect(await read(await clientOf("", 204))).toBeUndefined();
});

test("a status outside 2xx is an http problem with the body", async () => {
  const client = await clientOf("no such note", 404);
  expect(await problemOf(read(client))).toEqual({
    kind: "http",
    status: 404,
    body: "no such note",
  });
});

test("a response that is not JSON, or not of the expected shape, is a decode problem", async () => {
  expect(await problemOf(read(await clientOf("<html>")))).toEqual({ kind: "decode" });
  const client = await clientOf("7");
  const shaped = client.call(
    (api) => api.GET("/health"),
    () => {
      throw new Error("not a note");
    },
  );
  await expect(shaped).rejects.toThrow("The response to /health is not valid.");
  expect(await problemOf(shaped)).toEqual({ kind: "decode" });
});

test("a port where nothing listens is a network problem", async () => {
  const { createServer } = await import("node:http");
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as { port: number };
  await new Promise((closed) => server.close(closed));

  const client = new BackendClient(hostOf(port));
  expect(await problemOf(read(client))).toEqual({ kind: "network" });
});

test("a connection that breaks inside the body is a network problem", async () => {
  const port = await serve((_, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write('{"half":', () => response.destroy());
  });
  const client = new BackendClient(hostOf(port));
  expect(await problemOf(read(client))).toEqual({ kind: "network" });
});

test("a call that the signal ended is aborted or timeout, whatever `fetch` rejects with", async () => {
  const arrived = deferred<void>();
  const port = await serve(() => arrived.resolve());
  const client = new BackendClient(hostOf(port));
  const controller = new AbortController();

  const call = read(client, controller.signal);
  await arrived.promise;
  controller.abort();
  expect(await problemOf(call)).toEqual({ kind: "aborted" });

  expect(await problemOf(read(client, AbortSignal.timeout(1)))).toEqual({ kind: "timeout" });

  // tauri-plugin-http, for example, rejects with strings.
  const plugin = new BackendClient(hostWith(() => Promise.reject("Request cancelled")));
  expect(await problemOf(read(plugin, AbortSignal.abort()))).toEqual({ kind: "aborted" });
  expect(await problemOf(read(plugin))).toEqual({ kind: "network" });
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
