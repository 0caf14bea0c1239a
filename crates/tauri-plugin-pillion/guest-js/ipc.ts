import { invoke } from "@tauri-apps/api/core";
import { toError } from "./error.js";

/** Ids start at a random number, so that a reloaded page does not use the ids of the page before. */
let lastId = crypto.getRandomValues(new Uint32Array(1))[0] as number;

/** Calls a command of the plugin. Rejects with an `Error`: a `SidecarError` if the plugin rejected with a `Failure`. */
export async function call<T>(command: string, args: Record<string, unknown> | Uint8Array): Promise<T> {
  try {
    return await invoke<T>(`plugin:pillion|${command}`, args);
  } catch (rejection) {
    throw toError(rejection);
  }
}

/** An id for a request or a WebSocket by way of the app. */
export function nextId(): number {
  lastId = (lastId + 1) >>> 0;
  return lastId;
}

/** Cancels a request or a WebSocket in the app. An error is ignored: it has ended already, or the app is exiting. */
export function cancel(id: number): void {
  call("cancel", { id }).catch(() => {});
}
