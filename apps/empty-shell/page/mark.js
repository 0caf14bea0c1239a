// A module runs once the page is parsed: this page's "mounted". It is told to the collector of `cargo xtask bench`
// (crates/bench/src/collector.rs), as apps/desktop/src/bench.ts does it. Where none listens, nobody is told.
const at = performance.timeOrigin + performance.now();
const body = JSON.stringify({ mark: "mounted", at });
fetch("http://127.0.0.1:17391/mark", { method: "POST", mode: "no-cors", keepalive: true, body }).catch(
  () => {},
);
