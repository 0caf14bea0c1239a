import { Channel } from "@tauri-apps/api/core";
import type { UnlistenFn } from "@tauri-apps/api/event";
import { call } from "./ipc.js";

/**
 * Subscribes to the messages that `command` sends to this page. `onError` is called if the subscription cannot begin. It ends
 * when the returned function is called, or with the page. That function may be called at any time and any number of times; no
 * callback runs after the first call.
 */
export function subscribe<T>(
  command: "watch" | "logs",
  sidecar: string,
  onMessage: (message: T) => void,
  onError: (error: Error) => void,
): UnlistenFn {
  let open = true;
  const channel = new Channel<T>((message) => {
    if (open) onMessage(message);
  });
  const id = call<number>(command, { sidecar, channel });
  id.catch((error: Error) => {
    if (open) onError(error);
  });

  // This function is returned at once, and not with the command's response: a component that unmounts before the response
  // could not unsubscribe otherwise. `unwatch` is called as soon as the id is known.
  return () => {
    open = false;
    // An error needs no handling: the subscription never began, or the app has already ended it.
    id.then((id) => call<void>("unwatch", { id })).catch(() => {});
  };
}
