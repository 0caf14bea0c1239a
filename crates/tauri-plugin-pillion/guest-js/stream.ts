import { Channel } from "@tauri-apps/api/core";
import { call } from "./ipc.js";

/** Ends a stream. May be called at any time and any number of times; no callback runs after the first call. */
export type EndStream = () => void;

/** What `command` streams from the app to this page. Ends by itself only with the page. */
export function stream<T>(
  command: "watch" | "logs",
  sidecar: string,
  onMessage: (message: T) => void,
  onError: (error: Error) => void,
): EndStream {
  let open = true;
  const channel = new Channel<T>((message) => {
    if (open) onMessage(message);
  });
  const id = call<number>(command, { sidecar, channel });
  id.catch((error: Error) => {
    if (open) onError(error);
  });

  // The end is returned at once rather than with the command's answer: a component that unmounts before the answer
  // would otherwise hold no way to end what it began. The end is merely put off until the id is known.
  return () => {
    open = false;
    // What never began has nothing to end, and one that the app has already dropped is ended.
    id.then((id) => call<void>("unwatch", { id })).catch(() => {});
  };
}
