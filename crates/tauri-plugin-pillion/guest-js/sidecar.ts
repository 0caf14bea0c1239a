import { Channel, invoke } from "@tauri-apps/api/core";
import type { Endpoint, Status } from "./bindings.js";
import { toError } from "./error.js";

/** Ends a watch. May be called at any time and any number of times; no callback runs after the first call. */
export type StopWatching = () => void;

/** One sidecar of the app, by the name it has in `tauri.conf.json`. All methods act on the process of the moment. */
export interface Sidecar {
  readonly name: string;

  /** Waits until the sidecar is ready and says where; rejects with a `SidecarError` if it will not be. */
  ready(): Promise<Endpoint>;

  /** The state of this moment. */
  status(): Promise<Status>;

  /** Starts a sidecar that is down, or stops and starts one that is up; settles as `ready` does. */
  restart(): Promise<Endpoint>;

  /**
   * Calls `onStatus` with the present state and then with each later one, in order and none twice, so that it
   * does not matter how late the watch begins. `onError` is called at most once, when the watch could not begin.
   */
  watch(onStatus: (status: Status) => void, onError?: (error: Error) => void): StopWatching;
}

/** The handle to the sidecar called `name`. Nothing is asked of the app until a method is called. */
export function sidecar(name: string): Sidecar {
  return {
    name,
    ready: () => call<Endpoint>("ready", { sidecar: name }),
    status: () => call<Status>("status", { sidecar: name }),
    restart: () => call<Endpoint>("restart", { sidecar: name }),
    watch: (onStatus, onError) => watch(name, onStatus, onError),
  };
}

function watch(
  name: string,
  onStatus: (status: Status) => void,
  onError?: (error: Error) => void,
): StopWatching {
  let watching = true;
  let last = Number.NEGATIVE_INFINITY;
  const channel = new Channel<Status>((status) => {
    if (!watching || status.seq <= last) return;
    last = status.seq;
    onStatus(status);
  });

  const id = call<number>("watch", { sidecar: name, channel });
  id.catch((error: Error) => {
    if (watching) onError?.(error);
  });

  // The stop function is returned at once rather than with the command's answer: a component that unmounts before
  // the answer would otherwise hold no way to end what it began. The end is merely put off until the id is known.
  return () => {
    if (!watching) return;
    watching = false;
    // A watch that never began has nothing to end, and one that the app has already dropped is ended.
    id.then((id) => call<void>("unwatch", { id })).catch(() => {});
  };
}

async function call<T>(command: string, args: Record<string, unknown>): Promise<T> {
  try {
    return await invoke<T>(`plugin:pillion|${command}`, args);
  } catch (rejection) {
    throw toError(rejection);
  }
}
