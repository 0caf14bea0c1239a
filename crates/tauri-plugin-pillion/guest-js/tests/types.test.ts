// @vitest-environment node
/** Type tests: `npm run check` compiles this file, and each call also runs. */
import { Hono } from "hono";
import { hc } from "hono/client";
import createClient from "openapi-fetch";
import { expect, test } from "vitest";
import type { RequestOptions, Sidecar } from "../index.js";
import { sidecar } from "../sidecar.js";
import { backend, bodyOf, fakePlugin } from "./plugin.js";

/** Compiles only if `A` and `B` accept each other's values. */
type Mutual<A, B> = [A, B] extends [B, A] ? true : never;

const sameType: Mutual<Sidecar["fetch"], typeof fetch> = true;

/** The routes of a Hono app, as `typeof app` of the server exports them. */
const routes = new Hono()
  .get("/notes/:id", (context) => context.json({ id: Number(context.req.param("id")), text: "a" }))
  .post("/notes", (context) => context.json({ id: 1 }, 201));

/** As openapi-typescript generates it. */
interface paths {
  "/notes/{id}": {
    parameters: { query?: never; header?: never; path?: never; cookie?: never };
    get: {
      parameters: { query?: { full?: boolean }; header?: never; path: { id: number }; cookie?: never };
      requestBody?: never;
      responses: {
        200: { headers: Record<string, unknown>; content: { "application/json": { text: string } } };
      };
    };
    put: {
      parameters: { query?: never; header?: never; path: { id: number }; cookie?: never };
      requestBody: { content: { "application/json": { text: string } } };
      responses: { 204: { headers: Record<string, unknown>; content?: never } };
    };
  };
}

/** A ready sidecar that answers each request with what it received. */
async function echo() {
  const plugin = fakePlugin();
  const server = await backend(async (request, response) => {
    const text = `${request.method} ${request.url} ${await bodyOf(request)}`.trimEnd();
    response.setHeader("content-type", "application/json").end(JSON.stringify({ text }));
  });
  const handle = sidecar(plugin.name);
  handle.preconnect();
  plugin.ready(server, 1);
  return { handle, server };
}

test("fetch is assignable to the platform's fetch, and takes more options", async () => {
  const { handle } = await echo();
  const platform: typeof fetch = handle.fetch;
  const { fetch: unbound } = handle;
  const options: RequestOptions = { retry: false, connectTimeout: 1_000 };

  expect(sameType).toBe(true);
  expect(await (await platform(new URL("/a", handle.baseUrl))).json()).toEqual({ text: "GET /a" });
  expect(await (await unbound("/b", options)).json()).toEqual({ text: "GET /b" });
  expect(await (await unbound(new Request(`${handle.baseUrl}/c`), options)).json()).toEqual({
    text: "GET /c",
  });
});

test("a client of Hono takes fetch", async () => {
  const { handle } = await echo();
  const client = hc<typeof routes>(handle.baseUrl, { fetch: handle.fetch });

  const answer = await client.notes[":id"].$get({ param: { id: "7" } });
  const note: { id: number; text: string } = await answer.json();
  expect(note.text).toBe("GET /notes/7");
  // @ts-expect-error A field that the server does not send.
  expect(note.title).toBeUndefined();
  const options: RequestOptions = { retry: true };
  expect((await client.notes.$post({}, { init: options })).status).toBe(200);
});

test("a client of openapi-fetch takes fetch, and passes its options on", async () => {
  const { handle } = await echo();
  const client = createClient<paths>({ baseUrl: handle.baseUrl, fetch: handle.fetch });

  const params = { path: { id: 7 }, query: { full: true } };
  const { data } = await client.GET("/notes/{id}", { params, retry: false, connectTimeout: 0 });
  expect(data?.text).toBe("GET /notes/7?full=true");
  // @ts-expect-error A field that the server does not send.
  expect(data?.title).toBeUndefined();
  // @ts-expect-error A field of another type than the server takes.
  const put = await client.PUT("/notes/{id}", { params: { path: { id: 7 } }, body: { text: 7 } });
  expect(put.response.status).toBe(200);
});
