// First, and apart from the rest: see session.ts.

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { backend } from "./session";
import "./index.css";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

createRoot(root).render(
  <StrictMode>
    <App backend={backend} />
  </StrictMode>,
);

// Vite replaces the mode by its value, so that other builds hold neither the condition nor the file.
if (import.meta.env.MODE === "bench") void import("./bench");
