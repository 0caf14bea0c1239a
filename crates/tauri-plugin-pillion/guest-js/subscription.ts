import { Channel } from "@tauri-apps/api/core";
import type { UnlistenFn } from "@tauri-apps/api/event";
import { AnswerLost, call, isInApp, outsideOfApp } from "./ipc.js";
import { onRestored } from "./page-cache.js";

/** After how many messages of output the app is told that they are handled: half of what it sends without that. */
const HANDLED_AT_ONCE = 2;

/**
 * Subscribes to the messages that `command` sends to this page. `query` says which ones, for a command that takes one; it is asked again if
 * the webview has shown another page meanwhile, with true: the app then ended the subscription, and another one begins. `onError` is called
 * if the first cannot begin. It ends when the returned function is called, or with the page. That function may be called at any
 * time and any number of times; no callback runs after the first call.
 */
export function subscribe<T>(
  command: "watch" | "logs" | "usage",
  sidecar: string,
  onMessage: (message: T) => void,
  onError: (error: Error) => void,
  query: (isResumed: boolean) => object | undefined = () => undefined,
): UnlistenFn {
  let open = true;
  const begin = (query: object | undefined) => {
    if (!isInApp()) {
      const id = Promise.reject<number>(outsideOfApp());
      id.catch((error: Error) => open && onError(error));
      return id;
    }
    let handled = 0;
    const channel = new Channel<T>((message) => {
      if (!open) return;
      try {
        onMessage(message);
      } finally {
        handled += 1;
        if (command === "logs" && open && handled % HANDLED_AT_ONCE === 0) tell();
      }
    });
    // The app sends no more than a few messages of output that are not handled. An error means that the subscription never began, or
    // that the permission for it is gone: then no more comes.
    const tell = () =>
      id.then((id) => call("logs", { sidecar, handled: { id, messages: HANDLED_AT_ONCE } })).catch(() => {});
    const id = call<number>(command, query ? { sidecar, channel, query } : { sidecar, channel });
    id.catch((error: Error) => {
      if (open && !(error instanceof AnswerLost)) onError(error);
    });
    return id;
  };
  let id = begin(query(false));
  const unlisten = onRestored(() => {
    id = begin(query(true));
  });

  // This function is returned at once, and not with the command's response: a component that unmounts before the response
  // could not unsubscribe otherwise. `unwatch` is called as soon as the id is known.
  return () => {
    open = false;
    unlisten();
    // An error of `id` needs no handling here: the subscription never began, and `onError` was called.
    id.then(unwatch, () => {});
  };
}

/** Whether a refused `unwatch` was shown: the cause is the same each time. */
let warned = false;

/**
 * Ends a subscription or a use of this page. The caller does not wait for it, so an error is shown in the console: what should have
 * ended goes on until the page ends, and keeps a sidecar on demand running.
 */
export function unwatch(id: number): void {
  call<void>("unwatch", { id }).catch(({ message }: Error) => {
    if (warned) return;
    warned = true;
    console.warn(
      "tauri-plugin-pillion: the app refused to end a subscription or a use of a sidecar, which therefore lasts until this page ends " +
        `(${message}). Add the permission "pillion:allow-unwatch" to the capability of this window.`,
    );
  });
}
