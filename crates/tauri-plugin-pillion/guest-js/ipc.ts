import { invoke } from "@tauri-apps/api/core";
import { toError } from "./error.js";

/** Calls a command of the plugin. Rejects with an `Error`: a `SidecarError` if the plugin rejected with a `Failure`. */
export async function call<T>(command: string, args: Record<string, unknown> | Uint8Array): Promise<T> {
  try {
    return await invoke<T>(`plugin:pillion|${command}`, args);
  } catch (rejection) {
    throw toError(rejection);
  }
}
