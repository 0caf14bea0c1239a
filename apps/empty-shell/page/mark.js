// Sends the steps of this page's start to the collector of `cargo xtask bench` (crates/bench/src/suite/collector.rs), as
// apps/desktop/src/bench.ts does. A module runs once the page is parsed. Without a collector, the error is ignored.
performance.mark("mounted");

function steps() {
  const [navigation] = performance.getEntriesByType("navigation");
  const marks = [...performance.getEntriesByType("paint"), ...performance.getEntriesByType("mark")];
  const steps = {
    navigation: 0,
    "html there": navigation?.responseEnd,
    "html parsed": navigation?.domInteractive,
    ...Object.fromEntries(marks.map(({ name, startTime }) => [name, startTime])),
  };
  const known = Object.entries(steps).filter(([, at]) => at !== undefined);
  return Object.fromEntries(known.map(([name, at]) => [name, performance.timeOrigin + at]));
}

// A task after the next frame: the frame is painted by then.
requestAnimationFrame(() =>
  setTimeout(() => {
    performance.mark("painted");
    setTimeout(() => {
      const body = JSON.stringify({ steps: steps() });
      const report = { method: "POST", mode: "no-cors", keepalive: true, body };
      fetch("http://127.0.0.1:17391/mark", report).catch(() => {});
    });
  }),
);
