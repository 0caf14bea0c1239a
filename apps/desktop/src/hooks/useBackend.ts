import { useLayoutEffect, useSyncExternalStore } from "react";
import type { Backend } from "../lib/backend";
import type { BackendView } from "../lib/connection-state";

/** The current view of the backend, and a function that restarts it after an error. */
export function useBackend(backend: Backend): BackendView & { retry: () => void } {
  const view = useSyncExternalStore(backend.subscribe, backend.view);
  const { state } = view.connection;

  // User Timing marks: when the page was first mounted, and when it first showed each state.
  useLayoutEffect(() => markOnce("aios:mounted"), []);
  useLayoutEffect(() => markOnce(`aios:${state}`), [state]);

  return { ...view, retry: () => void backend.retry() };
}

function markOnce(name: string): void {
  if (performance.getEntriesByName(name, "mark").length === 0) performance.mark(name);
}
