/**
 * Only in `vite build --mode bench`: sends the times at which the window was mounted and connected to `VITE_BENCH_COLLECTOR`
 * (an `http://127.0.0.1:port/path`), if it is set.
 */

/** `at` is in milliseconds since the epoch, so that the collector can compare it with its own clock. */
function send(collector: string, mark: string, at: number): void {
  // A simple request: it needs no preflight and no CORS header of the collector.
  const body = JSON.stringify({ mark, at });
  void fetch(collector, { method: "POST", mode: "no-cors", keepalive: true, body });
}

const collector: string | undefined = import.meta.env.VITE_BENCH_COLLECTOR;
if (collector) {
  // Buffered, because the marks may be set before this file is loaded.
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) {
      if (name === "aios:mounted" || name === "aios:connected") {
        send(collector, name.slice("aios:".length), performance.timeOrigin + startTime);
      }
    }
  }).observe({ type: "mark", buffered: true });
}

export {};
