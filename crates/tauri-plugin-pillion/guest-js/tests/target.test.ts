// @vitest-environment node
import { expect, test } from "vitest";
import { Interrupted } from "../error.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, deferred, fakePlugin } from "./plugin.js";

const TOKEN = "1a".repeat(32);

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved with ${String(value)}`)),
    (error: unknown) => error,
  );
}

/** A server that answers with the method, URL, `X-Own` header and body of each request. */
function echoServer(port = 0) {
  return backend(async (request, response) => {
    const { method, url, headers } = request;
    response.end(`${method} ${url} ${headers["x-own"] ?? "-"} ${await bodyOf(request)}`);
  }, port);
}

/** A server that crashes at its first request. */
async function crashingServer(plugin: ReturnType<typeof fakePlugin>) {
  const crashed = deferred();
  const server = await backend(async (request) => {
    await bodyOf(request);
    await server.crash();
    plugin.sendStatus("backingOff", { pid: 1, failure: plugin.failure("crashed") });
    crashed.resolve();
  });
  return Object.assign(server, { crashed: crashed.promise });
}

test("a path, a URL and a Request reach the current run, with their options", async () => {
  const plugin = fakePlugin();
  const server = await echoServer();
  const { fetch, baseUrl } = sidecar(plugin.name);
  const post = { method: "POST", headers: { "x-own": "1" }, body: "b" };
  const answers = [
    fetch("/a?b=c", post),
    fetch(`${baseUrl}/a?b=c`, post),
    fetch(new URL("/a?b=c#d", baseUrl), post),
    fetch(new Request(`${baseUrl}/a?b=c#d`, post)),
    fetch(new Request(`${baseUrl}/a?b=c`, { headers: { "x-own": "2" } }), post),
  ];
  plugin.readyWithToken(TOKEN, server, 1);

  for (const answer of answers) expect(await (await answer).text()).toBe("POST /a?b=c 1 b");
  for (const input of [server.url, new URL(server.url), new Request(`${server.url}/`)]) {
    expect(await (await fetch(input)).text()).toBe("GET / - ");
  }
});

test("the base is a name that never resolves", () => {
  expect(sidecar("backend").baseUrl).toBe("http://sidecar.invalid");
});

test("a URL of an earlier run reaches the current run, however the page learnt it", async () => {
  const plugin = fakePlugin();
  const [first, second] = [await echoServer(), await echoServer()];
  const { watch, fetch } = sidecar(plugin.name);
  watch(() => {});
  plugin.readyWithToken(TOKEN, first, 1);
  plugin.sendStatus("backingOff");
  plugin.readyWithToken(TOKEN, second, 2);

  expect(await (await fetch(new Request(`${first.url}/old`))).text()).toBe("GET /old - ");
  expect([first.requests, second.requests]).toEqual([[], ["GET /old"]]);
});

test("a request for another server is refused with its cure, and neither that server nor the sidecar receives it", async () => {
  const plugin = fakePlugin();
  const [own, other] = [await echoServer(), await echoServer()];
  const { fetch, preconnect } = sidecar(plugin.name);
  preconnect();
  plugin.readyWithToken(TOKEN, own, 1);

  const host = `localhost:${own.port}`;
  for (const url of [
    `${other.url}/a`,
    "https://sidecar.invalid/",
    "http://sidecar.invalid:81/",
    `http://${host}/`,
  ]) {
    for (const input of [url, new URL(url), new Request(url)]) {
      const error = await rejection(fetch(input));
      expect(error).toBeInstanceOf(TypeError);
      expect(error).toMatchObject({ message: expect.stringContaining(new URL(url).origin) });
      expect(error).toMatchObject({ message: expect.stringMatching(/not sent.*"\/notes".*global fetch/) });
    }
  }
  expect(await rejection(fetch("http://user:secret@sidecar.invalid/"))).toMatchObject({
    name: "TypeError",
    message: expect.stringMatching(/credentials(?!.*secret)/),
  });
  expect(await rejection(fetch("tauri://localhost/notes"))).toBeInstanceOf(TypeError);
  expect([own.requests, other.requests]).toEqual([[], []]);
});

test("the body of a Request is used, and sent again with a request that may be repeated", async () => {
  const plugin = fakePlugin();
  const first = await crashingServer(plugin);
  const { fetch, baseUrl } = sidecar(plugin.name);
  const form = new FormData();
  form.set("field", "value");
  const request = new Request(`${baseUrl}/form`, { method: "PUT", body: form });
  const answer = fetch(request);
  expect(request.bodyUsed).toBe(true);
  expect(await rejection(fetch(request))).toBeInstanceOf(TypeError);
  plugin.ready(first, 1);
  await first.crashed;

  const second = await echoServer();
  plugin.ready(second, 2);
  expect(await (await answer).text()).toMatch(/^PUT \/form - --.*name="field"\r\n\r\nvalue\r\n/s);
});

test.each([
  ["POST", {}],
  ["PUT", { retry: false }],
])("a Request with the method %s is sent once, as with a path (%j)", async (method, options) => {
  const plugin = fakePlugin();
  const first = await crashingServer(plugin);
  const { fetch, baseUrl } = sidecar(plugin.name);
  const body = new Blob(["1"]).stream();
  const request = new Request(baseUrl, { method, body, duplex: "half" } as RequestInit);
  const answer = rejection(fetch(request, options));
  plugin.ready(first, 1);
  expect(await answer).toBeInstanceOf(Interrupted);
  expect(first.requests).toEqual([`${method} /`]);
});

test("the options that openapi-fetch adds to a Request count", async () => {
  const plugin = fakePlugin();
  const { fetch, baseUrl, watch } = sidecar(plugin.name);
  watch(() => {});
  plugin.sendStatus("starting");
  const request = Object.assign(new Request(baseUrl), { connectTimeout: 0 });
  expect(await rejection(fetch(request))).toMatchObject({ kind: "starting" });
});

test("the signal of a Request, or of the options, ends the wait for a run and the wait for its body", async () => {
  const plugin = fakePlugin();
  const { fetch, baseUrl } = sidecar(plugin.name);
  const [ofRequest, ofOptions] = [new AbortController(), new AbortController()];
  const request = () => new Request(baseUrl, { signal: ofRequest.signal });
  const overridden = rejection(fetch(request(), { signal: ofOptions.signal }));
  const waiting = rejection(fetch(request()));
  ofRequest.abort(new Error("of the request"));
  expect(await waiting).toMatchObject({ message: "of the request" });
  ofOptions.abort(new Error("of the options"));
  expect(await overridden).toMatchObject({ message: "of the options" });

  const server = await echoServer();
  plugin.ready(server, 1);
  const endless = new AbortController();
  const body = new ReadableStream({ pull: () => new Promise(() => {}) });
  const init = { method: "POST", body, duplex: "half", signal: endless.signal } as RequestInit;
  const reading = rejection(fetch(new Request(baseUrl, init)));
  endless.abort(new Error("enough"));
  expect(await reading).toMatchObject({ message: "enough" });
  expect(server.requests).toEqual([]);
});
