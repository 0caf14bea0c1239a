import { expect, test } from "vitest";
import { startExample } from "../../example.js";
import { createClient } from "./client.js";

test("the client calls the running backend, with the types of its routes", async () => {
  const backend = await startExample("node", ["hono-backend/dist/index.js"]);
  const client = createClient(backend);

  const added = await client.notes.$post({ json: { text: "first" } });
  expect(added.status).toBe(201);
  expect(await added.json()).toBe(1);

  const notes = await (await client.notes.$get()).json();
  expect(notes.map(({ text }) => text)).toEqual(["first"]);
  // @ts-expect-error The backend sends no title.
  expect(notes[0]?.title).toBeUndefined();

  // @ts-expect-error The backend takes a text, not a title.
  const refused = await client.notes.$post({ json: { title: "second" } });
  expect(refused.status).toBe(400);
  // @ts-expect-error The backend has no such route.
  expect((await client.memos.$get()).status).toBe(404);
});
