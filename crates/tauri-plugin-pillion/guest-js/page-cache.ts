/**
 * A webview may keep a page when it shows another one, and show it again as it was, with its scripts: the back/forward cache
 * (https://html.spec.whatwg.org/multipage/document-lifecycle.html). The app has ended all of it meanwhile, as at the end of any page:
 * subscriptions, leases, requests and WebSockets through the app. Answers that came meanwhile are lost.
 */

const listeners = new Set<() => void>();
let isListening = false;

/** Calls `callback` each time that the webview shows this page again, until the returned function is called. */
export function onRestored(callback: () => void): () => void {
  if (!isListening) {
    isListening = true;
    globalThis.addEventListener?.("pageshow", ({ persisted }) => {
      // In a later task: the app learns at the same time that another page begins, and then ends what it has of this webview.
      if (persisted) setTimeout(notify);
    });
  }
  // Each call is a listener of its own.
  const listener = () => callback();
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function notify(): void {
  for (const listener of [...listeners]) listener();
}
