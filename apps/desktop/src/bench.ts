/**
 * Only in `vite build --mode bench`: sends the times at which this page reached each step of its start to `VITE_BENCH_COLLECTOR` (an
 * `http://127.0.0.1:port/path`), once the last one is reached. `cargo xtask bench -- --only app` is the other side.
 */
import type { Backend } from "./lib/backend";

const COLLECTOR: string | undefined = import.meta.env.VITE_BENCH_COLLECTOR;

/** The requests that are steps, by a part of their URLs. The timeline of WebKit has no entries for those of the app's own schemes. */
const REQUESTS = { token: "pillion%7Cconnect", health: "/health" };

/** Marks the steps, and sends them once `last` is painted: `mounted` or `connected`. */
export function reportStart(backend: Backend, last: string): void {
  if (COLLECTOR === undefined) return;
  const collector = COLLECTOR;
  mark("begun");
  markRequests();
  const unsubscribe = backend.subscribe(() => {
    mark("status there");
    unsubscribe();
  });
  const observer = new PerformanceObserver((list) => {
    if (list.getEntriesByName(`aios:${last}`).length === 0) return;
    observer.disconnect();
    // A task after the next frame: the frame is painted by then.
    requestAnimationFrame(() =>
      setTimeout(() => {
        mark("painted");
        setTimeout(() => send(collector, steps(backend)));
      }),
    );
  });
  observer.observe({ type: "mark" });
}

function mark(step: string): void {
  performance.mark(`aios:${step}`);
}

function markRequests(): void {
  const { fetch } = globalThis;
  globalThis.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const step = Object.entries(REQUESTS).find(([, part]) => url.includes(part))?.[0];
    if (step === undefined) return fetch(input, init);
    mark(`${step} asked`);
    const response = await fetch(input, init);
    mark(`${step} there`);
    return response;
  };
}

/** The steps of this page, in milliseconds since the epoch, so that the collector can compare them with its own clock. */
function steps(backend: Backend): Record<string, number> {
  const steps: Record<string, number> = { navigation: performance.timeOrigin };
  const add = (step: string, at: number) => {
    // The first entry of a name counts.
    if (at > 0) steps[step] ??= performance.timeOrigin + at;
  };
  for (const entry of performance.getEntries()) {
    if (entry instanceof PerformanceNavigationTiming) {
      add("html there", entry.responseEnd);
      add("html parsed", entry.domInteractive);
    } else if (entry.entryType === "paint" || entry.name.startsWith("aios:")) {
      add(entry.name.replace("aios:", ""), entry.startTime);
    }
  }
  const { connection } = backend.view();
  if (connection.state === "connected") {
    // The backend says when it answered, and for how long it had run.
    const { timestamp, uptime } = connection.response.health;
    steps["backend answered"] = timestamp;
    steps["backend began"] = timestamp - uptime * 1000;
  }
  return steps;
}

function send(collector: string, steps: Record<string, number>): void {
  // A simple request: it needs no preflight and no CORS header of the collector.
  const body = JSON.stringify({ steps });
  void fetch(collector, { method: "POST", mode: "no-cors", keepalive: true, body });
}
