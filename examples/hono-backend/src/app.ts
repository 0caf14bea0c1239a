import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { admission } from "./admission.js";

/** Creates the routes. `env` holds the variables of the host: allowed origins, token, and the instance that `/health` returns. */
export function createApp(version: string, env: NodeJS.ProcessEnv): Hono<{ Bindings: HttpBindings }> {
  const instance = env.PILLION_INSTANCE || undefined;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(admission(env));
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
