/**
 * Typed bindings to tauri-plugin-pillion: know, watch and restart the sidecars of a Tauri app.
 *
 * @example
 * ```ts
 * import { sidecar } from "tauri-plugin-pillion-api";
 *
 * const backend = sidecar("backend");
 * const { url } = await backend.ready();
 * const stop = backend.watch((status) => console.log(status.state));
 * ```
 *
 * @module
 */
export type { Detail, Endpoint, Exit, Failure, FailureKind, State, Status } from "./bindings.js";
export { isFailure, SidecarError, toError } from "./error.js";
export { type Sidecar, type StopWatching, sidecar } from "./sidecar.js";
