/**
 * Typed bindings to tauri-plugin-pillion: know, watch, restart and call the sidecars of a Tauri app.
 *
 * @example
 * ```ts
 * import { sidecar } from "tauri-plugin-pillion-api";
 *
 * const backend = sidecar("backend");
 * const notes = await backend.fetch("/notes");
 * const stop = backend.watch((status) => console.log(status.state));
 * for await (const { data } of backend.events("/changes")) console.log(data);
 * ```
 *
 * @module
 */
export type { Detail, Endpoint, Exit, Failure, FailureKind, Log, Readiness, State, Status } from "./bindings.js";
export { type ErrorKind, Interrupted, isFailure, SidecarError, toError } from "./error.js";
export { EventStreamError, type EventsOptions, type ServerSentEvent } from "./events.js";
export type { RequestOptions } from "./fetch.js";
export { type Sidecar, sidecar } from "./sidecar.js";
export type { Socket, SocketOptions } from "./socket.js";
export type { EndStream } from "./stream.js";
export type { StopWatching } from "./watch.js";
