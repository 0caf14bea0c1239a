// @vitest-environment node
import type { RequestListener } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { Interrupted, SidecarError } from "../error.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, deferred, fakePlugin } from "./plugin.js";

const hello: RequestListener = (_, response) => void response.end("hello");

/** What a promise that should reject rejects with. */
function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${String(value)}`)),
    (error: unknown) => error,
  );
}

/** A backend that dies of the first request that reaches it, and what the plugin says of that. */
async function mortal(plugin: ReturnType<typeof fakePlugin>, pid: number) {
  const dead = deferred();
  const mortal = await backend(async (request) => {
    await bodyOf(request);
    await mortal.crash();
    plugin.say("backingOff", { pid, failure: plugin.failure("crashed") });
    dead.resolve();
  });
  return Object.assign(mortal, { dead: dead.promise });
}

test("a request waits for readiness, and is sent once", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/greet?who=me");

  plugin.say("waiting");
  plugin.say("starting", { port: server.port });
  plugin.ready(server, 1);

  expect(await (await answer).text()).toBe("hello");
  expect(server.requests).toEqual(["GET /greet?who=me"]);
});

test("once it is connected, no request asks the app anything, however many handles there are", async () => {
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

test("an answer of any status is an answer", async () => {
  const plugin = fakePlugin();
  const server = await backend((_, response) => void response.writeHead(503).end());
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(server, 1);
  expect((await answer).status).toBe(503);
  expect(server.requests).toHaveLength(1);
});

test("a GET that is cut off by a crash is sent to the next run, on its new port", async () => {
  const plugin = fakePlugin();
  const first = await mortal(plugin, 1);
  const answer = sidecar(plugin.name).fetch("/notes");
  plugin.ready(first, 1);
  await first.dead;

  const second = await backend(hello);
  plugin.say("starting", { pid: 2, restarts: 1 });
  plugin.ready(second, 2);

  expect(await (await answer).text()).toBe("hello");
  expect([first.requests, second.requests]).toEqual([["GET /notes"], ["GET /notes"]]);
});

test("a failure that outruns the news of the crash waits for the news", async () => {
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
  // Whoever awaited the failure has seen it by the next turn of the event loop.
  await new Promise(setImmediate);

  plugin.say("stopping", { failure: plugin.failure("crashed") });
  plugin.ready(await backend(hello), 2);
  expect(await (await answer).text()).toBe("hello");
});

test("the next run may have the same port, and may be ready before anybody has said that the last one is gone", async () => {
  const plugin = fakePlugin();
  const first = await backend(async () => {
    await first.crash();
    // With a handed-over listener a restart can be so quick that the stream, which tells the latest, skips it.
    const second = await backend(hello, first.port);
    plugin.ready(second, 2);
  });
  const answer = sidecar(plugin.name).fetch("/");
  plugin.ready(first, 1);
  expect(await (await answer).text()).toBe("hello");
});

test("whoever is told of a new run, and calls it at once, reaches that run", async () => {
  const plugin = fakePlugin();
  const { watch, fetch } = sidecar(plugin.name);
  const [first, second] = [await backend(hello), await backend(hello)];
  const answers: Promise<Response>[] = [];
  watch(() => answers.push(fetch("/", { patience: 0 })));

  plugin.ready(first, 1);
  await answers[0];
  plugin.ready(second, 2);
  await answers[1];

  expect([first.requests, second.requests]).toEqual([["GET /"], ["GET /"]]);
});

test("a GET that kills whoever it reaches is not sent for ever", async () => {
  const plugin = fakePlugin();
  const answer = rejection(sidecar(plugin.name).fetch("/poison"));
  const sent: string[] = [];
  for (let pid = 1; pid <= 3; pid++) {
    const next = await mortal(plugin, pid);
    plugin.ready(next, pid);
    await next.dead;
    sent.push(...next.requests);
  }
  expect(await answer).toMatchObject({ name: "Interrupted", failure: { kind: "crashed" } });
  expect(sent).toEqual(["GET /poison", "GET /poison", "GET /poison"]);
});

test.each([
  ["POST", {}],
  ["PATCH", {}],
  ["PUT", { retry: false }],
])("a %s that was sent is not sent again: it may have been done", async (method, options) => {
  const plugin = fakePlugin();
  const first = await mortal(plugin, 1);
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
])("a %s that may be done twice is sent again with its body (%j)", async (method, options) => {
  const plugin = fakePlugin();
  const first = await mortal(plugin, 1);
  const answer = sidecar(plugin.name).fetch("/", { method, body: "the body", ...options });
  plugin.ready(first, 1);
  await first.dead;

  const second = await backend(async (request, response) => void response.end(await bodyOf(request)));
  plugin.ready(second, 2);
  expect(await (await answer).text()).toBe("the body");
});

test("a POST that finds no backend was never sent, and waits like any other", async () => {
  const plugin = fakePlugin();
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/", { method: "POST", body: "1" });
  plugin.say("backingOff", { failure: plugin.failure("crashed") });
  plugin.ready(server, 2);
  expect((await answer).ok).toBe(true);
  expect(server.requests).toEqual(["POST /"]);
});

test("a body that is a stream is sent once, whatever the caller says", async () => {
  const plugin = fakePlugin();
  const first = await mortal(plugin, 1);
  const body = new Blob(["1"]).stream();
  const init = { method: "PUT", body, duplex: "half", retry: true } as RequestInit;
  const answer = rejection(sidecar(plugin.name).fetch("/", init));
  plugin.ready(first, 1);
  expect(await answer).toBeInstanceOf(Interrupted);
});

test("a request that fails while its backend is there fails as it is", async () => {
  const plugin = fakePlugin();
  const server = await backend((request) => void request.socket.destroy());
  const answer = rejection(sidecar(plugin.name).fetch("/"));
  plugin.ready(server, 1);

  const error = await answer;
  expect(error).toBeInstanceOf(TypeError);
  expect(error).not.toBeInstanceOf(SidecarError);
  expect(server.requests).toEqual(["GET /"]);
});

test("what is wrong with the request itself is said at once", async () => {
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
] as const)("a sidecar that is %s for good refuses at once, and says why", async (state, rest, kind) => {
  const plugin = fakePlugin();
  const answer = rejection(sidecar(plugin.name).fetch("/"));
  plugin.say(state, { ...rest, failure: "failure" in rest ? plugin.failure(rest.failure) : null });

  const error = await answer;
  expect(error).toBeInstanceOf(SidecarError);
  expect(error).toMatchObject({ kind, failure: { kind } });
});

test.each([
  ["starting", "starting", {}],
  ["starting", "restarting", { restarts: 2 }],
  ["backingOff", "restarting", { failure: true }],
  ["stopping", "stopping", {}],
] as const)(
  "whoever does not wait for a sidecar that is %s is told that it is %s",
  async (state, kind, rest) => {
    const plugin = fakePlugin();
    sidecar(plugin.name).watch(() => {});
    const failure = "failure" in rest ? plugin.failure("crashed") : null;
    const answer = rejection(sidecar(plugin.name).fetch("/", { patience: 0 }));
    plugin.say(state, { ...rest, failure });

    expect(await answer).toMatchObject({ name: "SidecarError", kind, failure });
  },
);

test("a sidecar that cannot be watched refuses, and is asked again by the next request", async () => {
  const plugin = fakePlugin();
  const { fetch } = sidecar(plugin.name);
  const refused = [rejection(fetch("/")), rejection(fetch("/"))];
  plugin.streams[0]?.answer.reject("plugin:pillion|watch not allowed");
  for (const error of await Promise.all(refused)) expect(error).toMatchObject({ message: /not allowed/ });

  const server = await backend(hello);
  const answer = fetch("/");
  plugin.ready(server, 1);
  expect((await answer).ok).toBe(true);
});

test("abort is heeded while waiting, before sending, while sending, and while waiting for the next run", async () => {
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

  const dying = await mortal(plugin, 2);
  plugin.ready(dying, 2);
  const between = abort();
  const third = rejection(fetch("/", { signal: between.signal }));
  await dying.dead;
  between.now();
  expect(await third).toBe(reason);
  expect(dying.requests).toHaveLength(1);
});

test("a request that waits leaves nothing behind on the caller's signal", async () => {
  const plugin = fakePlugin();
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, "addEventListener");
  const server = await backend(hello);
  const answer = sidecar(plugin.name).fetch("/", { signal });
  plugin.ready(server, 1);
  await answer;
  for (const [, , options] of added.mock.calls) {
    const { signal: deaf } = (options ?? {}) as AddEventListenerOptions;
    if (deaf) expect(deaf.aborted).toBe(true);
  }
  expect(added).toHaveBeenCalled();
});
