// First, and apart from the rest: see session.ts.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { backend } from "./session";
import "./index.css";

/**
 * How long the first picture waits for the first answer, in milliseconds. A backend that was started with the app has
 * mostly answered by now, but once the page is painted its answer waits for the paint: this way the window opens with the
 * truth instead of turning from amber to green. A slower backend is not waited for.
 */
const FIRST_ANSWER = 30;

function mount(): void {
  const root = document.getElementById("root");
  if (!root) throw new Error("index.html has no #root");
  createRoot(root).render(
    <StrictMode>
      <App backend={backend} />
    </StrictMode>,
  );
}

const patience = new Promise((resolve) => setTimeout(resolve, FIRST_ANSWER));
void Promise.race([backend.settled(), patience]).then(mount);

// Vite replaces the mode by its value, so that other builds hold neither the condition nor the file.
if (import.meta.env.MODE === "bench") void import("./bench");
