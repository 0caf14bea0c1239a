//! Tells `tracing` how long a probe takes. docs/tracing.md lists the spans and their fields.

use std::future::Future;

use tracing::{Instrument as _, debug_span, field::Empty};

use crate::health::not_ready::NotReady;

/// Makes one probe of this sidecar in a span of its own.
pub(crate) async fn in_span<T>(
    sidecar: &str,
    probe: impl Future<Output = Result<T, NotReady>>,
) -> Result<T, NotReady> {
    let span = debug_span!("sidecar.probe", sidecar, outcome = Empty);
    let result = probe.instrument(span.clone()).await;
    // Not the answer itself, which may contain what a trace must not.
    span.record("outcome", if result.is_ok() { "passed" } else { "failed" });
    result
}
