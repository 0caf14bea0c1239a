import type { BackendView } from "./lib/connection-state";
import { detailsOf } from "./lib/details";
import { describe, describeSpan } from "./lib/messages";
import { uptimeOf } from "./lib/uptime";

/**
 * Writes a view into the page as `prerender` has drawn it, as React would draw it (tests/first-picture.test.tsx). Returns whether that is
 * possible: it is for a backend that is being connected or is connected, the usual views of a start.
 */
export function writeView(root: Element, { connection, status }: BackendView): boolean {
  const { state } = connection;
  const response = state === "connected" ? connection.response : null;
  if ((state !== "connecting" && state !== "connected") || status?.progress) return false;
  const element = (name: string) => root.querySelector<HTMLElement>(`[data-testid=backend-${name}]`);
  const card = element("status");
  const label = element("label");
  const sentence = label?.nextElementSibling;
  const ring = root.querySelector(".animate-ping");
  // Without the ring, a connected backend was shown before.
  if (!card || !label || !sentence || (state === "connecting" && !ring)) return false;

  const texts = describe(connection, status?.port ?? null);
  const uptime = response && describeSpan(Math.floor(uptimeOf(response)));
  card.dataset.state = state;
  label.textContent = texts.label;
  sentence.textContent = texts.sentence;
  for (const [name, value] of Object.entries({ ...detailsOf(connection, status), uptime })) {
    const detail = element(name);
    if (detail) detail.textContent = String(value ?? "–");
  }
  if (state === "connected") ring?.remove();
  return true;
}
