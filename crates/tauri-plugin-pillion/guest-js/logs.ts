import type { UnlistenFn } from "@tauri-apps/api/event";
import type { Log } from "./bindings.js";
import { subscribe } from "./subscription.js";

/**
 * Subscribes to the output of a sidecar. If the webview has shown another page meanwhile, the lines that came then follow, each once, as far
 * as the app has kept them; the page is told how many it has not.
 */
export function subscribeToLogs(
  sidecar: string,
  query: { tail?: number | undefined },
  onLog: (log: Log) => void,
  onError: (error: Error) => void,
): UnlistenFn {
  /** The number of the last line. */
  let last = 0;
  let isResumed = false;
  const onMessage = (log: Log) => {
    if (log.kind !== "lines") return onLog(log);
    const entries = isResumed ? log.entries.filter(({ seq }) => seq > last) : log.entries;
    const first = entries[0];
    if (!first) return;
    const lines = isResumed && last > 0 ? first.seq - last - 1 : 0;
    isResumed = false;
    last = entries.at(-1)?.seq ?? last;
    if (lines > 0) onLog({ kind: "missed", lines });
    onLog({ ...log, entries });
  };
  return subscribe<Log>("logs", sidecar, onMessage, onError, (resumed) => {
    isResumed = resumed;
    // All that is kept, unless no line has come yet.
    return resumed && last > 0 ? { ...query, tail: undefined } : query;
  });
}
