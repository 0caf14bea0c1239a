// A small script without React, so that it runs early. Importing session.ts starts the connection.

import { writeView } from "./first-picture";
import { markOnce } from "./lib/marks";
import { backend, isAlone } from "./session";
import "./index.css";

/**
 * How long React waits for the backend's first answer, in milliseconds: evaluating React takes as long as that answer, which would wait
 * for it. A backend that started with the app has usually answered by then.
 */
const REACT_DELAY = isAlone ? 0 : 100;

/** Shows the backend in the HTML of the page until React has taken over. */
async function start(root: Element): Promise<void> {
  let unsubscribe = () => {};
  await new Promise<void>((resolve) => {
    const show = () => {
      const view = backend.view();
      const { state } = view.connection;
      // React alone draws all other views.
      if (!writeView(root, view)) return resolve();
      markOnce(`aios:${state}`);
      if (state === "connected") resolve();
    };
    unsubscribe = backend.subscribe(show);
    show();
    setTimeout(resolve, REACT_DELAY);
  });
  // In a task after the next frame, so that the picture is painted before React is evaluated.
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const { mount } = await import("./mount");
  unsubscribe();
  mount(root, backend);
}

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");
void start(root);
