/**
 * Makes a server a sidecar of Pillion: announcement, health, lifeline, graceful stop, token. Import it before modules that start
 * programs: the import removes the token from the environment.
 */

export type { FetchHandler, NodeRequest } from "./fetch.js";
export { progress } from "./progress.js";
export { attach, type Options, type Serving, serve } from "./sidecar.js";
export { stopping } from "./stop.js";
