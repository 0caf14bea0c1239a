import { invoke } from "@tauri-apps/api/core";
import { toError } from "./error.js";
import { onRestored } from "./page-cache.js";

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

/** Whether this page is in a window of an app, or a test has mocked that. */
export function isInApp(): boolean {
  return "__TAURI_INTERNALS__" in globalThis;
}

/** Why a page in a normal browser, a frame or a worker cannot call the app. */
export function outsideOfApp(): Error {
  return new Error(
    "this page is not in a window of a Tauri app, which alone knows its sidecars: open it with `tauri dev`, or give it fake sidecars by " +
      'mockSidecars of "tauri-plugin-pillion-api/mocks". A frame or a worker has no access to the app either: call the sidecar in the page ' +
      "itself, and pass the data on by messages",
  );
}

/** The app's answer to a call is lost, so that the call may have taken effect or not. */
export class AnswerLost extends TypeError {}

/** The commands that are not sent twice: what they do, or what they return, counts each time. */
const ONCE = new Set(["request", "write", "read", "restart", "swap", "stop"]);

/** Those whose callers begin again by themselves when the webview shows this page again. */
const SUBSCRIPTIONS = new Set(["watch", "logs", "usage"]);

/** Whether the app has answered a call of this page. */
let isAnswered = false;

type Args = Record<string, unknown> | Uint8Array;

/**
 * Calls a command of the plugin. Rejects with an `Error`: a `SidecarError` if the plugin rejected with a `Failure`, an `AnswerLost` for one of
 * the commands that are not sent twice.
 */
export async function call<T>(command: string, args: Args): Promise<T> {
  if (!isInApp()) throw outsideOfApp();
  keepCallbacks();
  for (;;) {
    try {
      return await send<T>(command, args);
    } catch (rejection) {
      if (rejection instanceof IdInUse) continue;
      if (rejection instanceof AnswerLost && !ONCE.has(command) && !SUBSCRIPTIONS.has(command)) continue;
      throw toError(rejection);
    }
  }
}

/** One call. Rejects with an `AnswerLost` if the webview shows this page again before the answer. */
function send<T>(command: string, args: Args): Promise<T> {
  return new Promise((resolve, reject) => {
    const lost = () =>
      new AnswerLost(`the webview lost the app's answer to ${command}: it may have taken effect or not`);
    const unlisten = onRestored(() => reject(lost()));
    const once = ONCE.has(command) && isAnswered ? notRepeated(args) : null;
    const answer = invoke<T>(`plugin:pillion|${command}`, once?.args ?? args);
    once?.seal();
    const settle = (settled: () => void) => {
      isAnswered = true;
      unlisten();
      settled();
    };
    answer.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(once?.isRepeated() ? lost() : error)),
    );
  });
}

/**
 * Tauri 2.12 sends a call again, by another way, if the request that carries it fails (`sendIpcMessage` in its ipc-protocol.js). That is meant
 * for a webview that refuses such requests from the beginning. But `window.stop()` ends those under way as well, which the app has got: it
 * would send a POST twice, and a WebSocket would lose the messages of an answer. So the arguments are empty when Tauri reads them again, and the
 * app refuses the repetition. Before the first answer it is not known whether the webview refuses such requests.
 */
function notRepeated(args: Args) {
  let isSealed = false;
  let isRepeated = false;
  const once = args instanceof Uint8Array ? args : { ...args };
  // The other way is JSON, and so are the arguments that are not bytes.
  const toJSON = () => {
    isRepeated ||= isSealed;
    const isArray = args instanceof Uint8Array;
    if (isRepeated) return isArray ? [] : {};
    return isArray ? Array.from(args) : args;
  };
  Object.defineProperty(once, "toJSON", { value: toJSON, configurable: true });
  return {
    args: once,
    /** Tauri has read the arguments. */
    seal: () => {
      isSealed = true;
    },
    isRepeated: () => isRepeated,
  };
}

/** An id for a request or a WebSocket through the app. */
export function nextId(): number {
  lastId = (lastId + 1) >>> 0;
  return lastId;
}

/** Cancels a request or a WebSocket in the app. An error is ignored: it has ended already, or the app is exiting. */
export function cancel(id: number): void {
  call("cancel", { id }).catch(() => {});
}
