import type { Access, Status } from "./bindings.js";

/** What the app tells a page about a sidecar when the page starts, within its permissions: src/page_start.rs. */
export interface Known {
  readonly status: Status;
  /** What `connect` returns, of the run that serves. Null without one, without the permission, or for a sidecar on demand. */
  readonly access: Access | null;
  /** When the app has told it, in the milliseconds of `performance.now()`. */
  readonly at: number;
}

/** How long the status is taken for the present one, in milliseconds. The subscription to it brings a newer one if there is one. */
const FRESH_MS = 5_000;

interface Internals {
  plugins?: { pillion?: { at: number; sidecars: Record<string, Omit<Known, "at">> } };
}

const taken = new Map<string, Known>();

/**
 * Returns what the app has told this page about the sidecar, at most once. It is removed from the page's objects as soon as the first is
 * asked for, because it contains tokens. What is not asked for before the page has loaded is forgotten, for the same reason.
 */
export function takeKnown(sidecar: string): Known | null {
  const { plugins } =
    (globalThis as { __TAURI_INTERNALS__?: Internals }).__TAURI_INTERNALS__ ?? ({} as Internals);
  if (plugins?.pillion) {
    const { at, sidecars } = plugins.pillion;
    for (const [name, known] of Object.entries(sidecars)) taken.set(name, { ...known, at });
    delete plugins.pillion;
    globalThis.addEventListener?.("load", () => taken.clear(), { once: true });
  }
  const known = taken.get(sidecar) ?? null;
  taken.delete(sidecar);
  return known;
}

export function isFresh({ at }: Known): boolean {
  return performance.now() - at < FRESH_MS;
}
