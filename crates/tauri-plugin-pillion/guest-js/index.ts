/**
 * Typed bindings to tauri-plugin-pillion: watch, restart and call the sidecars of a Tauri app.
 *
 * @example
 * ```ts
 * import { sidecar } from "tauri-plugin-pillion-api";
 *
 * const backend = sidecar("backend");
 * const notes = await backend.fetch("/notes");
 * const unlisten = backend.watch((status) => console.log(status.state));
 * for await (const { data } of backend.events("/changes")) console.log(data);
 * ```
 *
 * @module
 */
export type { UnlistenFn } from "@tauri-apps/api/event";
export type {
  Detail,
  Endpoint,
  EndReason,
  Exit,
  ExitReport,
  Failure,
  FailureKind,
  Killed,
  KillReason,
  Level,
  Log,
  LogEntry,
  MemoryKind,
  OutputStream,
  Readiness,
  State,
  Status,
  Usage,
} from "./bindings.js";
export { type ErrorKind, Interrupted, isFailure, SidecarError, toError } from "./error.js";
export { EventStreamError, type EventsOptions, type ServerSentEvent } from "./events.js";
export type { RequestOptions } from "./fetch.js";
export {
  type ExitReportWithSummary,
  type LogOptions,
  type Sidecar,
  sidecar,
  sidecars,
  type UsageOptions,
} from "./sidecar.js";
export type { ReconnectingWebSocket, WebSocketOptions } from "./websocket.js";
