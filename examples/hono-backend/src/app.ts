import { Hono } from "hono";
import { cors } from "hono/cors";

/** Where Tauri's own pages come from: macOS and Linux; Windows and Android; the same with `useHttpsScheme`. */
const TAURI_ORIGINS = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/** The routes. `env` is what the host gave: its list of origins replaces Tauri's, its nonce comes back in `/health`. */
export function createApp(version: string, env: NodeJS.ProcessEnv): Hono {
  const instance = env.PILLION_INSTANCE || undefined;
  const origin = env.PILLION_ALLOWED_ORIGINS?.split(",").map((entry) => entry.trim()) ?? TAURI_ORIGINS;
  const app = new Hono();
  app.use(cors({ origin, maxAge: 7200 }));
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
