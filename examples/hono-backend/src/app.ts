import { Hono } from "hono";

/** The routes. The SDK adds `GET /health`. */
export const app = new Hono();

app.get("/", (context) => context.text("a Hono backend\n"));
