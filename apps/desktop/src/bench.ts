/**
 * What `vite build --mode bench` adds: the two routes to the backend, to be timed from outside, and the times at which
 * the window was mounted and connected, sent to `VITE_BENCH_COLLECTOR` (an `http://127.0.0.1:port/path`) if it is set.
 */
// biome-ignore lint/style/noRestrictedImports: AIOS itself is built without it, and without this file.
import { fetch as pluginFetch } from "@tauri-apps/plugin-http";
import { currentHost } from "./lib/tauri";

/** Fetches `path` so many times, one after another, whole bodies included; answers the milliseconds it took. */
type Route = (path: string, times: number) => Promise<number>;

declare global {
  interface Window {
    aiosBench?: { direct: Route; plugin: Route };
  }
}

function route(request: (path: string) => Promise<Response>): Route {
  return async (path, times) => {
    const begun = performance.now();
    for (let done = 0; done < times; done++) {
      const response = await request(path);
      await response.arrayBuffer();
      if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    }
    return performance.now() - begun;
  };
}

const host = currentHost();
const url = new Promise<string>((resolve, reject) => {
  host.watch(({ url }) => url && resolve(url), reject);
});

window.aiosBench = {
  direct: route((path) => host.fetch(path, { cache: "no-store" })),
  // Without the token, which nobody but the page's own client is given: for what is answered to anybody.
  plugin: route(async (path) => pluginFetch((await url) + path, { cache: "no-store" })),
};

/** `at` is in milliseconds since the epoch, so that the collector can set it beside its own clock. */
function send(collector: string, mark: string, at: number): void {
  // A simple request that needs no preflight, and no header from a collector that only listens.
  const body = JSON.stringify({ mark, at });
  void fetch(collector, { method: "POST", mode: "no-cors", keepalive: true, body });
}

const collector: string | undefined = import.meta.env.VITE_BENCH_COLLECTOR;
if (collector) {
  // Buffered, since the marks may have been set before this file was loaded.
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) {
      if (name === "aios:mounted" || name === "aios:connected") {
        send(collector, name.slice("aios:".length), performance.timeOrigin + startTime);
      }
    }
  }).observe({ type: "mark", buffered: true });
}
