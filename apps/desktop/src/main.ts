// A small script without React, so that it runs early. Importing session.ts starts the connection. The script is async (index.html): WebKit
// runs the microtasks of a deferred one, and so the first request, only after the layout of the page.

import { writeView } from "./first-picture";
import { markOnce } from "./lib/marks";
import { backend, isAlone } from "./session";
import "./index.css";

/**
 * How long React waits for the backend's first answer to the page, in milliseconds: evaluating React takes as long as that answer, which
 * would wait for it. A backend that started with the app has usually answered by then.
 */
const REACT_DELAY = isAlone ? 0 : 100;

/** How long React waits for a frame, in milliseconds. */
const FRAME_LIMIT = 100;

/** Shows the backend in the HTML of the page until React has taken over, and for good if React cannot be loaded. */
async function start(): Promise<void> {
  const root = await pageRoot();
  let unsubscribe = () => {};
  await new Promise<void>((resolve) => {
    const show = () => {
      const view = backend.view();
      const { connection } = view;
      // React alone draws all other views.
      if (!writeView(root, view)) return resolve();
      markOnce(`aios:${connection.state}`);
      if (connection.state === "connected" && connection.response) resolve();
    };
    unsubscribe = backend.subscribe(show);
    show();
    setTimeout(resolve, REACT_DELAY);
  });
  // In a task after the next frame, so that the picture is painted before React is evaluated. A window that is hidden from its start gets
  // no frame until it is shown: React is then evaluated while it is hidden.
  await new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    setTimeout(resolve, FRAME_LIMIT);
  });
  let react: typeof import("./mount");
  try {
    react = await import("./mount");
  } catch (error) {
    // A reload would probably fail in the same way, and again and again. The subscription goes on, so that a connection still shows.
    console.error(
      "React cannot be loaded, so that the page shows only whether the backend is connected:",
      error,
    );
    return;
  }
  unsubscribe();
  react.mount(root, backend);
}

/** The element of the page, once it is parsed. */
async function pageRoot(): Promise<Element> {
  if (document.readyState === "loading") {
    await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
  }
  const root = document.getElementById("root");
  if (!root) throw new Error("index.html has no #root");
  return root;
}

void start();
