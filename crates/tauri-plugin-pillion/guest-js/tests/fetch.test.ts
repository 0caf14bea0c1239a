// @vitest-environment node
import type { RequestListener } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { Interrupted, SidecarError } from "../error.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, deferred, fakePlugin } from "./plugin.js";

const hello: RequestListener = (_, response) => void response.end("hello");

/** The rejection of a promise that must not resolve. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${String(value)}`)),
    (error: unknown) => error,
  );
}

/** A backend that crashes at its first request, and whose plugin then sends the status of the crash. */
async function crashingBackend(plugin: ReturnType<typeof fakePlugin>, pid: number) {
  const crashed = deferred();
  const server = await backend(async (request) => {
    await bodyOf(request);
    await server.crash();
    plugin.sendStatus("backingOff", { pid, failure: plugin.failure("crashed") });
    crashed.resolve();
  });
  return Object.assign(server, { crashed: crashed.promise });
}

test("a request waits for readiness, and is sent once", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/greet?who=me");

  plugin.sendStatus("waiting");
  plugin.sendStatus("starting", { port: server.port });
  plugin.ready(server, 1);

  expect(await (await answer).text()).toBe("hello");
  expect(server.requests).toEqual(["GET /greet?who=me"]);
});

test("once connected, no request calls the app, whatever the number of handles", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const first = sidecar(plugin.name).fetch("/");
  plugin.ready(server, 1);
  await first;

  for (let count = 0; count < 5; count++) await sidecar(plugin.name).fetch("/");
  await Promise.all([1, 2, 3].map(() => sidecar(plugin.name).fetch("/")));

  expect(server.requests).toHaveLength(9);
  expect(plugin.commands).toEqual(["plugin:pillion|watch", "plugin:pillion|connect"]);
});

test("an unhealthy backend is still used", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(server, 1, "unhealthy");
  expect((await answer).status).toBe(200);
});

test("a response with an error status resolves", async () => {
  const plugin = fakePlugin();
  const server = await backend((_, response) => void response.writeHead(503).end());
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(server, 1);
  expect((await answer).status).toBe(503);
  expect(server.requests).toHaveLength(1);
});

test("a GET that a crash interrupts is sent to the next run, on its new port", async () => {
  const plugin = fakePlugin();
  const first = await crashingBackend(plugin, 1);
  const answer = sidecar(plugin.name).fetch("/notes");
  plugin.ready(first, 1);
  await first.crashed;

  const second = await backend(hello);
  plugin.sendStatus("starting", { pid: 2, restarts: 1 });
  plugin.ready(second, 2);

  expect(await (await answer).text()).toBe("hello");
  expect([first.requests, second.requests]).toEqual([["GET /notes"], ["GET /notes"]]);
});

test("a request that fails before the status of the crash arrives waits for that status", async () => {
  const plugin = fakePlugin();
  const first = await backend((request) => void request.socket.resetAndDestroy());
  const failed = deferred();
  const { fetch } = globalThis;
  const fetched = vi.spyOn(globalThis, "fetch").mockImplementationOnce((...request) => {
    const answer = fetch(...request);
    answer.catch(failed.resolve);
    return answer;
  });
  onTestFinished(() => fetched.mockRestore());
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(first, 1);
  await failed.promise;
  // The client has handled the failure by the next turn of the event loop.
  await new Promise(setImmediate);

  plugin.sendStatus("stopping", { failure: plugin.failure("crashed") });
  plugin.ready(await backend(hello), 2);
  expect(await (await answer).text()).toBe("hello");
});

test("a GET is sent to the next run also on the same port, and without a status between the runs", async () => {
  const plugin = fakePlugin();
  const first = await backend(async () => {
    await first.crash();
    // With socket activation a restart can be so quick that the subscription, which sends only the latest status, skips it.
    const second = await backend(hello, first.port);
    plugin.ready(second, 2);
  });
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(first, 1);
  expect(await (await answer).text()).toBe("hello");
});

test("a request in a status callback reaches the run of that status", async () => {
  const plugin = fakePlugin();
  const { watch, fetch } = sidecar(plugin.name);
  const [first, second] = [await backend(hello), await backend(hello)];
  const answers: Promise<Response>[] = [];
  watch(() => answers.push(fetch("/", { connectTimeout: 0 })));

  plugin.ready(first, 1);
  await answers[0];
  plugin.ready(second, 2);
  await answers[1];

  expect([first.requests, second.requests]).toEqual([["GET /"], ["GET /"]]);
});

test("a GET that crashes every run is sent three times", async () => {
  const plugin = fakePlugin();
  const answer = rejection(sidecar(plugin.name).fetch("/poison"));
  const sent: string[] = [];
  for (let pid = 1; pid <= 3; pid++) {
    const next = await crashingBackend(plugin, pid);
    plugin.ready(next, pid);
    await next.crashed;
    sent.push(...next.requests);
  }
  expect(await answer).toMatchObject({ name: "Interrupted", failure: { kind: "crashed" } });
  expect(sent).toEqual(["GET /poison", "GET /poison", "GET /poison"]);
});

test.each([
  ["POST", {}],
  ["PATCH", {}],
  ["PUT", { retry: false }],
])("a %s that was sent is not sent again, because it may have taken effect", async (method, options) => {
  const plugin = fakePlugin();
  const first = await crashingBackend(plugin, 1);
  const answer = rejection(sidecar(plugin.name).fetch("/pay", { method, body: "1", ...options }));
  plugin.ready(first, 1);

  const error = await answer;
  expect(error).toBeInstanceOf(Interrupted);
  expect(error).toBeInstanceOf(SidecarError);
  expect(error).toMatchObject({
    kind: "interrupted",
    failure: { kind: "crashed" },
    detail: { tail: ["out of memory"] },
    cause: expect.any(TypeError),
  });

  const second = await backend(hello);
  plugin.ready(second, 2);
  expect((await sidecar(plugin.name).fetch("/other")).ok).toBe(true);
  expect(second.requests).toEqual(["GET /other"]);
});

test.each([
  ["PUT", {}],
  ["DELETE", {}],
  ["POST", { retry: true }],
  ["POST", { headers: { "Idempotency-Key": '"8e03978e"' } }],
])("a %s that may be repeated is sent again with its body (%j)", async (method, options) => {
  const plugin = fakePlugin();
  const first = await crashingBackend(plugin, 1);
  const answer = sidecar(plugin.name).fetch("/", { method, body: "the body", ...options });
  plugin.ready(first, 1);
  await first.crashed;

  const second = await backend(async (request, response) => void response.end(await bodyOf(request)));
  plugin.ready(second, 2);
  expect(await (await answer).text()).toBe("the body");
});

test("a POST waits for a run, because it was not sent yet", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/", { method: "POST", body: "1" });
  plugin.sendStatus("backingOff", { failure: plugin.failure("crashed") });
  plugin.ready(server, 2);
  expect((await answer).ok).toBe(true);
  expect(server.requests).toEqual(["POST /"]);
});

test("a body that is a stream is sent once, also with `retry: true`", async () => {
  const plugin = fakePlugin();
  const first = await crashingBackend(plugin, 1);
  const body = new Blob(["1"]).stream();
  const init = { method: "PUT", body, duplex: "half", retry: true } as RequestInit;
  const answer = rejection(sidecar(plugin.name).fetch("/", init));
  plugin.ready(first, 1);
  expect(await answer).toBeInstanceOf(Interrupted);
});

test("a network error while the run still serves is passed on", async () => {
  const plugin = fakePlugin();
  const server = await backend((request) => void request.socket.destroy());
  const answer = rejection(sidecar(plugin.name).fetch("/"));
  plugin.ready(server, 1);

  const error = await answer;
  expect(error).toBeInstanceOf(TypeError);
  expect(error).not.toBeInstanceOf(SidecarError);
  expect(server.requests).toEqual(["GET /"]);
});

test("an invalid request rejects at once", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const { fetch } = sidecar(plugin.name);
  const first = fetch("/");
  plugin.ready(server, 1);
  await first;

  for (const path of ["notes", "@example.org/", ".example.org", ""]) {
    expect(await rejection(fetch(path))).toMatchObject({
      message: expect.stringContaining("begins with a slash"),
    });
  }
  expect(await rejection(fetch("/", { method: "GET", body: "1" }))).toBeInstanceOf(TypeError);
  expect(server.requests).toEqual(["GET /"]);
});

test.each([
  ["failed", { failure: "crashed" as const }, "crashed"],
  ["stopped", { reason: "exited with code 0 by itself" }, "stopped"],
  ["waiting", { failure: "dependency" as const }, "dependency"],
  ["stopping", { failure: "crashed" as const }, "crashed"],
] as const)(
  "a request to a sidecar that is %s for good rejects at once with the reason",
  async (state, rest, kind) => {
    const plugin = fakePlugin();
    const answer = rejection(sidecar(plugin.name).fetch("/"));
    const failure = "failure" in rest ? plugin.failure(rest.failure) : null;
    plugin.sendStatus(state, { ...rest, readiness: "down", failure });

    const error = await answer;
    expect(error).toBeInstanceOf(SidecarError);
    expect(error).toMatchObject({ kind, failure: { kind } });
  },
);

test("a request to a worker that is ready without an address rejects at once and says so", async () => {
  const plugin = fakePlugin();
  const answer = rejection(sidecar(plugin.name).fetch("/"));
  plugin.sendStatus("ready", { pid: 1 });

  const error = await answer;
  expect(error).toBeInstanceOf(SidecarError);
  expect(error).toMatchObject({ kind: "noPort", message: expect.stringContaining("it has no address") });
});

test.each([
  ["starting", "starting", {}],
  ["starting", "restarting", { restarts: 2 }],
  ["backingOff", "restarting", { failure: true }],
  ["stopping", "stopping", {}],
] as const)(
  "without a timeout, a request to a sidecar that is %s rejects with %s",
  async (state, kind, rest) => {
    const plugin = fakePlugin();
    sidecar(plugin.name).watch(() => {});
    const failure = "failure" in rest ? plugin.failure("crashed") : null;
    const answer = rejection(sidecar(plugin.name).fetch("/", { connectTimeout: 0 }));
    plugin.sendStatus(state, { ...rest, failure });

    expect(await answer).toMatchObject({ name: "SidecarError", kind, failure });
  },
);

test("a request rejects if the page may not watch the sidecar, and the next request tries again", async () => {
  const plugin = fakePlugin();
  const { fetch } = sidecar(plugin.name);
  const rejected = [rejection(fetch("/")), rejection(fetch("/"))];
  plugin.subscriptions[0]?.response.reject("plugin:pillion|watch not allowed");
  for (const error of await Promise.all(rejected)) expect(error).toMatchObject({ message: /not allowed/ });

  const server = await backend(hello);
  const answer = fetch("/");
  plugin.ready(server, 1);
  expect((await answer).ok).toBe(true);
});

test("an abort rejects while waiting, before sending, while sending, and while waiting for the next run", async () => {
  const plugin = fakePlugin();
  const { fetch } = sidecar(plugin.name);
  const reason = new Error("enough");
  const abort = () => {
    const controller = new AbortController();
    return { signal: controller.signal, now: () => controller.abort(reason) };
  };

  const waiting = abort();
  const first = rejection(fetch("/", { signal: waiting.signal }));
  waiting.now();
  expect(await first).toBe(reason);
  expect(await rejection(fetch("/", { signal: waiting.signal }))).toBe(reason);

  const arrived = deferred();
  const server = await backend(() => arrived.resolve());
  plugin.ready(server, 1);
  const sending = abort();
  const second = rejection(fetch("/", { signal: sending.signal }));
  await arrived.promise;
  sending.now();
  expect(await second).toBe(reason);

  const dying = await crashingBackend(plugin, 2);
  plugin.ready(dying, 2);
  const between = abort();
  const third = rejection(fetch("/", { signal: between.signal }));
  await dying.crashed;
  between.now();
  expect(await third).toBe(reason);
  expect(dying.requests).toHaveLength(1);
});

test("a request removes its listeners from the caller's signal", async () => {
  const plugin = fakePlugin();
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, "addEventListener");
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/", { signal });
  plugin.ready(server, 1);
  await answer;
  for (const [, , options] of added.mock.calls) {
    const { signal: removal } = (options ?? {}) as AddEventListenerOptions;
    if (removal) expect(removal.aborted).toBe(true);
  }
  expect(added).toHaveBeenCalled();
});

test("a request is a part of a trace only if it is asked to", async () => {
  const plugin = fakePlugin();
  const seen: (string | undefined)[] = [];
  const server = await backend((request, response) => {
    seen.push(request.headers.traceparent as string | undefined);
    response.end();
  });
  const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa01a902b7-01";
  const { fetch } = sidecar(plugin.name);

  const first = fetch("/");
  plugin.ready(server, 1);
  await first;
  await fetch("/", { trace: true });
  await fetch("/", { trace: true });
  await fetch("/", { trace: given });
  await fetch("/", { trace: true, headers: { traceparent: given } });

  expect(seen[0]).toBeUndefined();
  expect(seen[1]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(seen[2]).not.toBe(seen[1]);
  expect(seen.slice(3)).toEqual([given, given]);
});

test("a request that is sent again belongs to the same trace", async () => {
  const plugin = fakePlugin();
  const seen: unknown[] = [];
  const crashing = await backend(async (request) => {
    seen.push(request.headers.traceparent);
    await crashing.crash();
    plugin.sendStatus("backingOff", { pid: 1, failure: plugin.failure("crashed") });
    plugin.ready(next, 2);
  });
  const next = await backend((request, response) => {
    seen.push(request.headers.traceparent);
    response.end();
  });
  const answer = sidecar(plugin.name).fetch("/", { trace: true });
  plugin.ready(crashing, 1);
  await answer;

  expect(seen).toHaveLength(2);
  expect(seen[1]).toBe(seen[0]);
});
