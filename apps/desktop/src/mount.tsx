import { StrictMode } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { App } from "./App";
import { writeView } from "./first-picture";
import type { ViewedBackend } from "./hooks/useBackend";

/** Lets React draw the page from now on. It keeps the elements in `root` if they can show the view, and replaces them otherwise. */
export function mount(root: Element, backend: ViewedBackend): void {
  // React demands to find the view that was written, and the backend may have another one by the time that React looks.
  const shown = backend.view();
  const page = (
    <StrictMode>
      <App backend={backend} shown={shown} />
    </StrictMode>
  );
  if (writeView(root, shown)) hydrateRoot(root, page);
  else createRoot(root).render(page);
}
