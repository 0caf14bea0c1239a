// Importing session.ts starts the connection.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { backend, isAlone } from "./session";
import "./index.css";

/**
 * How long the first render waits for the connection, in milliseconds. A backend that started with the app has usually responded
 * by then, so that the window opens in its final state instead of turning from amber to green. After a first render, the response
 * would wait for the paint.
 */
const FIRST_RENDER_DELAY = 30;

function mount(): void {
  const root = document.getElementById("root");
  if (!root) throw new Error("index.html has no #root");
  createRoot(root).render(
    <StrictMode>
      <App backend={backend} />
    </StrictMode>,
  );
}

const timeout = new Promise((resolve) => setTimeout(resolve, FIRST_RENDER_DELAY));
void (isAlone ? Promise.resolve() : Promise.race([backend.settled(), timeout])).then(mount);
