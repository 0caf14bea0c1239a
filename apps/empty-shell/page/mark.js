// Sends this page's "mounted" mark to the collector of `cargo xtask bench` (crates/bench/src/collector.rs), as
// apps/desktop/src/bench.ts does. A module runs once the page is parsed. Without a collector, the error is ignored.
const at = performance.timeOrigin + performance.now();
const body = JSON.stringify({ mark: "mounted", at });
fetch("http://127.0.0.1:17391/mark", { method: "POST", mode: "no-cors", keepalive: true, body }).catch(
  () => {},
);
