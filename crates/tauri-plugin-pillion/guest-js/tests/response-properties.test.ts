// @vitest-environment node
import { createHash } from "node:crypto";
import { expect, test, vi } from "vitest";
import { withProperties } from "../response-properties.js";
import { sidecar } from "../sidecar.js";
import { proxied, rejection } from "./http-proxy.js";
import { backend, fakePlugin } from "./plugin.js";

test("a response says whether it was redirected, and a clone is as its original", async () => {
  const { backend } = await proxied(({ url }, response) => {
    if (url === "/old") response.writeHead(307, { location: "/new?page=1" });
    response.end("body");
  });
  const integrity = `sha256-${createHash("sha256").update("body").digest("base64")}`;
  for (const [path, redirected, options] of [
    ["/old", true, {}],
    ["/old", true, { integrity }],
    ["/new?page=1", false, {}],
  ] as const) {
    const response = await backend.fetch(path, options);
    const clones = [response.clone(), response.clone().clone()];
    for (const each of [response, ...clones]) {
      expect([each.url, each.redirected]).toEqual(["http://localhost/new?page=1", redirected]);
    }
    expect(await Promise.all([response, ...clones].map((each) => each.text()))).toEqual(
      Array(3).fill("body"),
    );
  }
});

test.each(["arrayBuffer", "blob", "json", "text"] as const)(
  "%s rejects with the reason of the signal, as of a body from the network",
  async (read) => {
    // As WebKit does for a stream that a page has made.
    const body = () =>
      new ReadableStream({ start: (controller) => controller.error(new TypeError("AbortError: …")) });
    const aborting = new AbortController();
    const response = () =>
      withProperties(new Response(body()), { url: "", redirected: false, signal: aborting.signal });
    await expect(response()[read]()).rejects.toThrow(TypeError);
    aborting.abort(new RangeError("the page's own"));
    await expect(response()[read]()).rejects.toThrow("the page's own");
    await expect(response().clone()[read]()).rejects.toThrow("the page's own");
  },
);

test("a request rejects with the reason of its signal, whatever the webview rejects with", async () => {
  const plugin = fakePlugin();
  const handle = sidecar(plugin.name);
  const server = await backend(() => {});
  const aborting = new AbortController();
  // As WebKitGTK 2.50 does.
  vi.stubGlobal("fetch", async () => {
    aborting.abort(new DOMException("too late", "TimeoutError"));
    throw new DOMException("Fetch is aborted", "AbortError");
  });
  const error = rejection(handle.fetch("/", { signal: aborting.signal }));
  plugin.ready(server, 1);
  expect(await error).toBe(aborting.signal.reason);
});
