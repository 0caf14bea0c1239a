import { Hono } from "hono";
import { validator } from "hono/validator";

export interface Note {
  text: string;
}

const notes: Note[] = [];

const note = validator("json", (body: Partial<Note> | null, context) =>
  typeof body?.text === "string" ? { text: body.text } : context.json({ error: "a note has a text" }, 400),
);

/** The routes. The SDK adds `GET /health`. Hono knows the types of routes that are added in one chain. */
export const app = new Hono()
  .get("/", (context) => context.text("a Hono backend\n"))
  .get("/notes", (context) => context.json(notes))
  .post("/notes", note, (context) => context.json(notes.push(context.req.valid("json")), 201));

/** The type of the page's client. */
export type AppType = typeof app;
