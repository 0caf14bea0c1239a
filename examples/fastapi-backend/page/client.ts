/** The page's client: its calls have the types of the backend's OpenAPI document. */
import createFetchClient from "openapi-fetch";
import { type Sidecar, sidecar } from "tauri-plugin-pillion-api";
import type { paths } from "./backend-api.js";

export function createClient({ baseUrl, fetch }: Sidecar = sidecar("backend")) {
  return createFetchClient<paths>({ baseUrl, fetch });
}
