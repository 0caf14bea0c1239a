// A fetch-style server that shows what its handler sees.
import { once } from "node:events";
import { serve, stopping } from "../../dist/index.js";

const stops = new URLSearchParams(process.argv[2] ?? "");
const routes = {
  "/": () => new Response("hello\n"),
  "/echo": (request) =>
    new Response(request.body, { headers: { "content-type": "application/octet-stream" } }),
  "/sum": async (request) => new Response(`${(await request.text()).length}`),
  "/seen": (request, { incoming }) =>
    Response.json({
      url: request.url,
      headers: [...request.headers],
      raw: incoming.rawHeaders,
      node: incoming.headers,
      distinct: incoming.headersDistinct,
      token: process.env.PILLION_TOKEN ?? null,
    }),
  "/throws": () => {
    throw new Error("the handler is broken");
  },
  "/nothing": () => undefined,
  "/early": () => new Response("early\n", { status: 413 }),
  "/cookies": () => {
    const headers = new Headers({ vary: "Accept", "access-control-allow-origin": "*" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    return new Response("cookies\n", { status: 201, headers });
  },
  "/no-content": () => new Response(null, { status: 204 }),
  "/large": () => new Response("x".repeat(20_000_000)),
  "/stream": () => {
    let chunk = 0;
    return new Response(
      new ReadableStream({
        pull(controller) {
          chunk += 1;
          controller.enqueue(new TextEncoder().encode(`chunk ${chunk}\n`));
          if (chunk === 3) controller.close();
        },
      }),
    );
  },
  "/breaks": () =>
    new Response(
      new ReadableStream({
        async pull(controller) {
          if (!this.sent) controller.enqueue(new TextEncoder().encode("part\n"));
          else await once(process, "SIGUSR2").then(() => controller.error(new Error("the body is broken")));
          this.sent = true;
        },
      }),
    ),
  "/endless": (request) => {
    request.signal.addEventListener("abort", () => console.error("the signal aborted"));
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode("first\n")),
        cancel: () => console.error("the body was cancelled"),
      }),
    );
  },
  "/until-stop": () =>
    new Promise((resolve) => {
      console.error("waiting");
      stopping.addEventListener("abort", () => resolve(new Response("stopped\n")));
    }),
  "/never": () => new Promise(() => console.error("never answers")),
};

const none = () => new Response("none\n", { status: 404 });

await serve((request, node) => (routes[new URL(request.url).pathname] ?? none)(request, node), {
  app: "test",
  version: "1.2.3",
  ...(stops.has("grace") ? { graceMs: Number(stops.get("grace")) } : {}),
  onStop: () => console.error("onStop ran"),
});
