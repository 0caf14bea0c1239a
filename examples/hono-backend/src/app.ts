import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { gate } from "./private.js";

/** The routes. `env` is what the host gave: whom to answer, and the nonce of this run, which comes back in `/health`. */
export function createApp(version: string, env: NodeJS.ProcessEnv): Hono<{ Bindings: HttpBindings }> {
  const instance = env.PILLION_INSTANCE || undefined;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(gate(env));
  app.get("/health", (context) => {
    context.header("Cache-Control", "no-store");
    return context.json({
      status: "ok",
      app: "AIOS",
      timestamp: Date.now(),
      uptime: process.uptime(),
      version,
      instance,
    });
  });
  return app;
}
