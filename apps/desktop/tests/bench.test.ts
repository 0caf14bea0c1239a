// @vitest-environment node
import { expect, onTestFinished, test, vi } from "vitest";
import { BackendClient } from "../src/lib/api";
import { Backend } from "../src/lib/backend";
import { deferred, FakeHost, hostWith } from "./fixtures";

test("a start is reported once all of its steps are reached, and the first is painted", async () => {
  onTestFinished(() => {
    vi.unstubAllEnvs();
    vi.unstubAllGlobals();
    performance.clearMarks();
  });
  const sent = deferred<Record<string, number>>();
  const fetch = vi.fn(async (_url: string, { body }: { body: string }) =>
    sent.resolve(JSON.parse(body).steps),
  );
  vi.stubGlobal("fetch", fetch);
  vi.stubGlobal("requestAnimationFrame", setTimeout);
  vi.stubGlobal("PerformanceNavigationTiming", class {});
  vi.stubEnv("VITE_BENCH_COLLECTOR", "http://127.0.0.1:1/mark");
  const painted = deferred<void>();
  const observer = new PerformanceObserver((list) => {
    if (list.getEntriesByName("aios:painted").length > 0) painted.resolve();
  });
  observer.observe({ type: "mark" });
  onTestFinished(() => observer.disconnect());

  const { reportStart } = await import("../src/bench");
  const client = new BackendClient(hostWith(async () => new Response()));
  reportStart(new Backend(new FakeHost(), client), ["connected", "mounted"]);
  performance.mark("aios:connected");
  await painted.promise;
  expect(fetch).not.toHaveBeenCalled();
  performance.mark("aios:mounted");

  const { connected = NaN, painted: paintedAt = NaN, mounted = NaN } = await sent.promise;
  expect(connected).toBeLessThanOrEqual(paintedAt);
  expect(paintedAt).toBeLessThanOrEqual(mounted);
  expect(fetch).toHaveBeenCalledOnce();
});
