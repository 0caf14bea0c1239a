import { act } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { writeView } from "../src/first-picture";
import { type BackendEvent, type BackendView, initial, reduce } from "../src/lib/connection-state";
import { mount } from "../src/mount";
import { prerender } from "../src/prerender";
import { health, status } from "./fixtures";

const ready = status("ready", { port: 4242, pid: 77, version: "1.2.0" });
const connected: BackendEvent = {
  type: "healthy",
  checked: ready,
  response: { health: health({ uptime: 0.1 }), at: performance.now() + 3_600_000 },
};

/** The view after these events. */
function after(...events: BackendEvent[]): BackendView {
  return events.reduce(reduce, initial);
}

const drawable: Record<string, BackendView> = {
  "nothing is known": initial,
  "the backend is starting": after({ type: "status", status: status("starting", { pid: 77 }) }),
  "the backend is ready": after({ type: "status", status: ready }),
  "the backend waits": after({ type: "status", status: status("waiting", { reason: "it needs the <db>" }) }),
  "the backend has answered": after({ type: "status", status: ready }, connected),
};

const others: Record<string, BackendView> = {
  "the backend is idle": after({ type: "status", status: status("idle") }),
  "the backend says how far it is": after({
    type: "status",
    status: status("starting", { progress: "42%" }),
  }),
  "the page may not watch": after({ type: "failed", error: new Error("not allowed"), failure: null }),
};

function page(): HTMLElement {
  const root = document.createElement("div");
  root.innerHTML = prerender();
  document.body.replaceChildren(root);
  return root;
}

/** The page as React draws this view, in the notation of this DOM. */
function drawnByReact(view: BackendView): string {
  const root = document.createElement("div");
  root.innerHTML = prerender(view);
  return root.innerHTML;
}

test.for(Object.entries(drawable))("the first picture is that of React: %s", ([, view]) => {
  const root = page();
  expect(writeView(root, view)).toBe(true);
  expect(root.innerHTML).toBe(drawnByReact(view));
  // And again, as for a second status.
  expect(writeView(root, view)).toBe(true);
  expect(root.innerHTML).toBe(drawnByReact(view));
});

test.for(Object.entries(others))("the first picture leaves this to React: %s", ([, view]) => {
  const root = page();
  expect(writeView(root, view)).toBe(false);
  expect(root.innerHTML).toBe(drawnByReact(initial));
});

test("a backend that is connected no more is left to React", () => {
  const root = page();
  expect(writeView(root, drawable["the backend has answered"] as BackendView)).toBe(true);
  expect(writeView(root, initial)).toBe(false);
});

/** Lets React take over a page that shows `shown`. Each call of `view` is a look at the backend. */
async function takenOver(shown: BackendView, view: () => BackendView) {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {});
  const reported = vi.fn();
  window.addEventListener("error", reported);
  const root = page();
  writeView(root, shown);
  const card = root.querySelector("[data-testid=backend-status]");
  await act(async () => mount(root, { subscribe: () => () => {}, view, retry: async () => {} }));
  window.removeEventListener("error", reported);
  return {
    html: root.innerHTML,
    isKept: root.querySelector("[data-testid=backend-status]") === card,
    problems: [...errors.mock.calls, ...reported.mock.calls],
  };
}

test.for(Object.entries(drawable))("React keeps the elements of the first picture: %s", async ([, view]) => {
  const { html, isKept, problems } = await takenOver(initial, () => view);
  expect(problems).toEqual([]);
  expect(html).toBe(drawnByReact(view));
  expect(isKept).toBe(true);
});

test("React keeps the elements if the view changes while it takes over", async () => {
  const later = drawable["the backend has answered"] as BackendView;
  const first = after({ type: "status", status: status("starting", { pid: 7 }) });
  const { html, isKept, problems } = await takenOver(initial, vi.fn(() => later).mockReturnValueOnce(first));
  expect(problems).toEqual([]);
  expect(html).toBe(drawnByReact(later));
  expect(isKept).toBe(true);
});

test.for(Object.entries(others))("React replaces the first picture: %s", async ([, view]) => {
  const { html, isKept, problems } = await takenOver(initial, () => view);
  expect(problems).toEqual([]);
  expect(html).toBe(drawnByReact(view));
  expect(isKept).toBe(false);
});
