import { invoke } from "@tauri-apps/api/core";
import { toError } from "./error.js";

/** Ids start at a random number, so that a reloaded page does not use the ids of the page before. */
let lastId = crypto.getRandomValues(new Uint32Array(1))[0] as number;

class IdInUse extends Error {}

/**
 * Tauri 2.12 chooses the ids of a call's callbacks at random, of 32 bits, and replaces the callback that has the id already (`registerCallback`
 * in its core.js): that call is then never answered. With hundreds of event streams this happened in one of some hundred thousand calls.
 * Refuses such an id before the call is sent; `call` then asks for another one.
 */
function keepCallbacks(): void {
  const internals = (globalThis as { __TAURI_INTERNALS__?: { callbacks?: unknown } }).__TAURI_INTERNALS__;
  const callbacks = internals?.callbacks;
  if (!(callbacks instanceof Map) || Object.hasOwn(callbacks, "set")) return;
  const set = (id: unknown, callback: unknown) => {
    if (callbacks.has(id)) throw new IdInUse(`the callback ${id} is in use`);
    return Map.prototype.set.call(callbacks, id, callback);
  };
  // Not by assignment, which fails if the page has frozen the prototype.
  Object.defineProperty(callbacks, "set", { value: set });
}

/** Calls a command of the plugin. Rejects with an `Error`: a `SidecarError` if the plugin rejected with a `Failure`. */
export async function call<T>(command: string, args: Record<string, unknown> | Uint8Array): Promise<T> {
  keepCallbacks();
  for (;;) {
    try {
      return await invoke<T>(`plugin:pillion|${command}`, args);
    } catch (rejection) {
      if (rejection instanceof IdInUse) continue;
      throw toError(rejection);
    }
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
