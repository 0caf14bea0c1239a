/**
 * Only in `vite build --mode bench`: sends the times at which this page reached each step of its start to `VITE_BENCH_COLLECTOR` (an
 * `http://127.0.0.1:port/path`), once all are reached. `cargo xtask bench -- --only app` is the other side.
 */
import type { Health } from "./lib/api";
import type { Backend } from "./lib/backend";

const COLLECTOR: string | undefined = import.meta.env.VITE_BENCH_COLLECTOR;

/** The requests that are steps, by a part of their URLs. The timeline of WebKit has no entries for those of the app's own schemes. */
const REQUESTS = { token: "pillion%7Cconnect", health: "/health" };

/**
 * Marks the steps, and sends them once `first` is painted and the others are marked, in any order. The bench measures the memory when it
 * gets them: React must be there by then.
 */
export function reportStart(backend: Backend, [first, ...others]: readonly [string, ...string[]]): void {
  if (COLLECTOR === undefined) return;
  const collector = COLLECTOR;
  mark("begun");
  markRequests();
  const unsubscribe = backend.subscribe(() => {
    // The first mark of a name counts.
    mark("status there");
    if (!answerOf(backend)) return;
    mark("answered");
    unsubscribe();
  });
  const painted = marked(first)
    .then(nextFrame)
    .then(() => mark("painted"));
  const all = Promise.all([painted, ...others.map(marked)]);
  void all.then(() => setTimeout(() => send(collector, steps(backend))));
}

/** Resolves once the step is marked. */
function marked(step: string): Promise<void> {
  return new Promise((resolve) => {
    const observer = new PerformanceObserver((list) => {
      if (list.getEntriesByName(`aios:${step}`).length === 0) return;
      observer.disconnect();
      resolve();
    });
    observer.observe({ type: "mark" });
  });
}

/** Resolves in a task after the next frame: the frame is painted by then. */
function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
  });
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
  const answer = answerOf(backend);
  if (answer) {
    // The backend says when it answered, and for how long it had run.
    const { timestamp, uptime } = answer;
    steps["backend answered"] = timestamp;
    steps["backend began"] = timestamp - uptime * 1000;
  }
  return steps;
}

/** The answer of the backend to the page, once it is there. */
function answerOf(backend: Backend): Health | null {
  const { connection } = backend.view();
  return connection.state === "connected" ? (connection.response?.health ?? null) : null;
}

function send(collector: string, steps: Record<string, number>): void {
  // A simple request: it needs no preflight and no CORS header of the collector.
  const body = JSON.stringify({ steps });
  void fetch(collector, { method: "POST", mode: "no-cors", keepalive: true, body });
}
