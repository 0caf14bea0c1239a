/** The page's client: its calls have the types of the routes in src/app.ts. */
import { hc } from "hono/client";
import { type Sidecar, sidecar } from "tauri-plugin-pillion-api";
import type { AppType } from "../src/app.js";

export function createClient({ baseUrl, fetch }: Sidecar = sidecar("backend")) {
  return hc<AppType>(baseUrl, { fetch });
}
