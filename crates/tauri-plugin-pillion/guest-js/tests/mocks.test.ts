import { invoke } from "@tauri-apps/api/core";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Status } from "../bindings.js";
import { type Mocks, mockSidecars } from "../mocks.js";
import { type Sidecar, sidecar } from "../sidecar.js";
import { backend as serverOf } from "./plugin.js";

/** Each test has a sidecar of its own name, because a page shares state between the handles of one name. */
let count = 0;
let mocks: Mocks | null = null;
let name: string;
let backend: Sidecar;

beforeEach(() => {
  vi.stubGlobal("window", globalThis);
  name = `mocked-${++count}`;
  backend = sidecar(name);
});

afterEach(() => {
  mocks?.restore();
  mocks = null;
  clearMocks();
  Reflect.deleteProperty(globalThis, "__TAURI_INTERNALS__");
  vi.unstubAllGlobals();
});

/** The next status in this state. */
function inState(state: Status["state"]): Promise<Status> {
  return new Promise((resolve) => {
    const unlisten = backend.watch((status) => {
      if (status.state !== state) return;
      unlisten();
      resolve(status);
    });
  });
}

describe("outside of an app", () => {
  test("a request and a call say what to do", async () => {
    await expect(backend.fetch("/")).rejects.toThrow(/not in a window of a Tauri app.*mockSidecars/);
    await expect(backend.ready()).rejects.toThrow(/mockSidecars/);
  });

  test("a watch throws nothing, and reports the error", async () => {
    const error = await new Promise<Error>((resolve) => backend.watch(() => {}, resolve));
    expect(error.message).toMatch(/mockSidecars/);
    backend.watch(() => {})();
  });
});

test("a function answers in the place of a server", async () => {
  mocks = mockSidecars({
    [name]: async (request) => {
      const { pathname, searchParams } = new URL(request.url);
      return Response.json({ pathname, page: searchParams.get("page"), text: await request.text() });
    },
  });
  const answer = await backend.fetch("/notes?page=2", { method: "POST", body: "hi" });
  expect(await answer.json()).toEqual({ pathname: "/notes", page: "2", text: "hi" });
  expect((await backend.ready()).url).not.toBeNull();
});

test("requests go to a server that runs, and others where they went", async () => {
  const server = await serverOf((_, response) => {
    response.setHeader("access-control-allow-origin", "*");
    response.end("real");
  });
  mocks = mockSidecars({ [name]: `${server.url}/` });
  expect(await (await backend.fetch("/a")).text()).toBe("real");
  expect(await (await fetch(`${server.url}/b`)).text()).toBe("real");
  expect(server.requests.filter((request) => request.startsWith("GET"))).toEqual(["GET /a", "GET /b"]);
});

test("a function streams events, and its error is a failed request", async () => {
  const events = () =>
    new Response("data: 1\n\ndata: 2\n\n", { headers: { "content-type": "text/event-stream" } });
  mocks = mockSidecars({
    [name]: (request) => {
      if (request.url.endsWith("/events")) return events();
      throw new TypeError("no network");
    },
  });
  const seen: string[] = [];
  for await (const { data } of backend.events("/events")) {
    seen.push(data);
    if (seen.length === 2) break;
  }
  expect(seen).toEqual(["1", "2"]);
  await expect(backend.fetch("/")).rejects.toThrow("no network");
});

test("an aborted request rejects with the reason of its signal", async () => {
  mocks = mockSidecars({ [name]: () => new Promise<Response>(() => {}) });
  const controller = new AbortController();
  const answer = backend.fetch("/", { signal: controller.signal });
  controller.abort(new Error("left"));
  await expect(answer).rejects.toThrow("left");
});

test("a test chooses the status, and requests wait for readiness or reject", async () => {
  mocks = mockSidecars({ [name]: () => new Response("up") });
  mocks.setStatus(name, { state: "starting", progress: "loading 40%" });
  expect((await inState("starting")).progress).toBe("loading 40%");
  const waiting = backend.fetch("/");
  mocks.setStatus(name, { state: "ready", version: "1.0" });
  expect(await (await waiting).text()).toBe("up");
  const failure = {
    kind: "crashed" as const,
    message: "it crashed",
    detail: { sidecar: name, exit: null, tail: [] },
  };
  mocks.setStatus(name, { state: "failed", failure });
  await expect(backend.fetch("/")).rejects.toMatchObject({ name: "SidecarError", kind: "crashed" });
  await expect(backend.ready()).rejects.toMatchObject({ name: "SidecarError", kind: "crashed" });
  const before = (await inState("failed")).seq;
  expect((await backend.restart()).pid).not.toBeNull();
  expect((await inState("ready")).seq).toBeGreaterThan(before);
  expect(await (await backend.fetch("/")).text()).toBe("up");
  await backend.stop();
  expect((await backend.status()).state).toBe("stopped");
});

test("another mock replaces the first for a page that goes on", async () => {
  const pids: (number | null)[] = [];
  mocks = mockSidecars({ [name]: () => new Response("first") });
  const unlisten = backend.watch(({ pid }) => pids.push(pid));
  expect(await (await backend.fetch("/")).text()).toBe("first");
  mocks.restore();
  mocks.restore();
  mocks = mockSidecars({ other: () => new Response(), [name]: () => new Response("second") });
  expect(await (await backend.fetch("/")).text()).toBe("second");
  expect(pids.length).toBeGreaterThan(1);
  unlisten();
});

test("other calls go to the mock before, and unknown sidecars are named", async () => {
  mockIPC((command) => (command === "greet" ? "hello" : undefined));
  mocks = mockSidecars({ [name]: () => new Response() });
  expect(await invoke("greet")).toBe("hello");
  await expect(sidecar("absent").status()).rejects.toMatchObject({ kind: "unknownSidecar" });
  expect(() => mocks?.setStatus("absent", { state: "ready" })).toThrow(name);
  expect(await backend.exitReports()).toEqual([]);
  const { logs, usage } = backend;
  logs({}, () => {})();
  usage(() => {})();
  mocks.restore();
  expect(await invoke("greet")).toBe("hello");
  clearMocks();
  Reflect.deleteProperty(globalThis, "__TAURI_INTERNALS__");
  mocks = mockSidecars({});
  await expect(invoke("greet")).rejects.toMatch(/mockIPC/);
});
