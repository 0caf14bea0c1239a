import { expect, test } from "vitest";
import { startExample } from "../../example.js";
import { createClient } from "./client.js";

/** A Python with FastAPI: `cargo xtask test` provides it. */
const python = process.env.PILLION_TEST_PYTHON;

test.skipIf(!python)(
  "the client calls the running backend, with the types of its OpenAPI document",
  async () => {
    const backend = await startExample(python ?? "python", ["fastapi-backend/main.py"], {
      PYTHONPATH: "../sdk/python/src",
    });
    const client = createClient(backend);

    const added = await client.POST("/notes", { body: { text: "first" } });
    expect(added.data).toBe(1);

    const { data: notes } = await client.GET("/notes");
    expect(notes?.map(({ text }) => text)).toEqual(["first"]);
    // @ts-expect-error The backend sends no title.
    expect(notes?.[0]?.title).toBeUndefined();

    // @ts-expect-error The backend takes a text, not a title.
    const refused = await client.POST("/notes", { body: { title: "second" } });
    expect(refused.response.status).toBe(422);
    expect(refused.error?.detail?.map(({ loc }) => loc)).toEqual([["body", "text"]]);
    // @ts-expect-error The backend has no such route.
    expect((await client.GET("/memos")).response.status).toBe(404);
  },
);
