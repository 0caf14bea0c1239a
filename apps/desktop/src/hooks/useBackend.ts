import { useLayoutEffect, useSyncExternalStore } from "react";
import type { Backend } from "../lib/backend";
import type { BackendView } from "../lib/connection-state";
import { markOnce } from "../lib/marks";

/**
 * The current view of the backend, and a function that restarts it after an error. While React takes over a page that shows `shown`, it is
 * that view.
 */
export function useBackend(backend: ViewedBackend, shown: BackendView): BackendView & { retry: () => void } {
  const view = useSyncExternalStore(backend.subscribe, backend.view, () => shown);
  const { state } = view.connection;

  // User Timing marks: when React first drew the page, and when the page first showed each state.
  useLayoutEffect(() => markOnce("aios:mounted"), []);
  useLayoutEffect(() => markOnce(`aios:${state}`), [state]);

  return { ...view, retry: () => void backend.retry() };
}

/** What the page needs of a `Backend`. */
export type ViewedBackend = Pick<Backend, "subscribe" | "view" | "retry">;
