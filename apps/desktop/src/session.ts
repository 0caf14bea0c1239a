/**
 * The one backend of this window. Importing this module begins to ask for it, so that the answer is under way while
 * React is still being evaluated and mounted.
 */
import { BackendClient } from "./lib/api";
import { Backend } from "./lib/backend";
import { currentHost } from "./lib/tauri";

const host = currentHost();

/** For every request of the app to its backend. */
export const client = new BackendClient(host.fetch);

/** Whether the backend is there, for the whole life of the window. */
export const backend = new Backend(host, client);

// At the same time, so that no answer waits for another.
host.preconnect();
backend.start();
