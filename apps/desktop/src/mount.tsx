import { StrictMode } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { App } from "./App";
import { writeView } from "./first-picture";
import type { ViewedBackend } from "./hooks/useBackend";

/** Lets React draw the page from now on. It keeps the elements in `root` if they can show the view, and replaces them otherwise. */
export function mount(root: Element, backend: ViewedBackend): void {
  const page = (
    <StrictMode>
      <App backend={backend} />
    </StrictMode>
  );
  if (writeView(root, backend.view())) hydrateRoot(root, page);
  else createRoot(root).render(page);
}
