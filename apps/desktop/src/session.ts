/**
 * The backend of this window. Importing this module starts the connection, so that it is made while React is still being evaluated
 * and mounted.
 */
import { reportStart } from "./bench";
import { BackendClient } from "./lib/api";
import { Backend } from "./lib/backend";
import { currentHost } from "./lib/tauri";

const host = currentHost();

/** Sends all of the app's requests to its backend. */
export const client = new BackendClient(host);

/** The state of the backend, until the window closes. */
export const backend = new Backend(host, client);

/**
 * Whether this page is the control of `cargo xtask bench`, which asks for nothing: the same files in a shell without a backend. Vite
 * replaces the mode by its value, so that other builds contain neither this nor `bench.ts`.
 */
export const isAlone = import.meta.env.MODE === "bench" && location.search === "?alone";

if (import.meta.env.MODE === "bench") {
  reportStart(backend, isAlone ? ["mounted"] : ["connected", "answered", "mounted"]);
}

if (!isAlone) {
  // Both calls are under way at the same time, so that neither response waits for the other.
  host.preconnect();
  backend.start();
}
