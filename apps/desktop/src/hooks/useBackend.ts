import { useLayoutEffect, useSyncExternalStore } from "react";
import type { Backend } from "../lib/backend";
import type { Connection } from "../lib/connection";

/** The backend's connection, kept current, and the way to have the backend started again. */
export function useBackend(backend: Backend): Connection & { retry: () => void } {
  const connection = useSyncExternalStore(backend.subscribe, backend.connection);
  const { state } = connection.link;

  // User Timing marks: when the page was first there, and when it first said each state.
  useLayoutEffect(() => markOnce("aios:mounted"), []);
  useLayoutEffect(() => markOnce(`aios:${state}`), [state]);

  return { ...connection, retry: () => void backend.retry() };
}

function markOnce(name: string): void {
  if (performance.getEntriesByName(name, "mark").length === 0) performance.mark(name);
}
