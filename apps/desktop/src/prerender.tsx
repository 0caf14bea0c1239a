import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { App } from "./App";
import { type BackendView, initial } from "./lib/connection-state";

/** The HTML of the page that shows this view: for index.html (vite.config.ts) the one before anything is known of the backend. */
export function prerender(view: BackendView = initial): string {
  const backend = { subscribe: () => () => {}, view: () => view, retry: async () => {} };
  return renderToString(
    <StrictMode>
      <App backend={backend} shown={view} />
    </StrictMode>,
  );
}
