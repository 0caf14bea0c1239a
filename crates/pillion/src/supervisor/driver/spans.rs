//! Tells `tracing` how long a run takes to start, to become ready, and to stop. docs/tracing.md lists the spans and their fields.

use tracing::{
    Span,
    field::{Empty, debug},
    info_span,
};

use super::{Driver, exit_report::reason};
use crate::{
    report::messages,
    state::{Ending, Lifecycle, Step},
    status::{FailureKind, StopOutcome},
};

/// The spans that are open.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// From the decision to start until the run is ready or is not going to be.
    start: Option<Span>,
    /// The part of it in which the process runs and is not ready.
    ready: Option<Span>,
    /// From the first signal until no process is left.
    stop: Option<Span>,
}

impl Driver {
    /// Opens and closes the spans after a change of the state.
    pub(super) fn trace_state(&mut self) {
        match &self.state {
            Lifecycle::Starting(Step::Launching) => {
                if self.spans.start.is_none() {
                    let (sidecar, restarts) = (self.spec.name.as_str(), self.restarts.streak());
                    // The first start is begun by a caller, whose span may be long over before it ends.
                    let span = info_span!(
                        parent: None,
                        "sidecar.start",
                        sidecar,
                        restarts,
                        process.pid = Empty,
                        outcome = Empty,
                        otel.status_code = Empty
                    );
                    self.spans.start = Some(span);
                }
            }
            Lifecycle::Starting(Step::Announcing | Step::Checking { .. }) => {
                if let (Some(start), None) = (&self.spans.start, &self.spans.ready) {
                    start.record("process.pid", self.run.pid);
                    self.spans.ready = Some(info_span!(parent: start, "sidecar.ready"));
                }
            }
            Lifecycle::Ready { .. } | Lifecycle::Unhealthy { .. } => {
                if let Some(start) = self.close_start() {
                    start.record("process.pid", self.run.pid);
                    start.record("outcome", "ready");
                }
            }
            Lifecycle::Ending(ending) => {
                let ending = ending.clone();
                self.fail_start();
                if self.spans.stop.is_none() {
                    self.spans.stop = Some(self.stop_span(&ending));
                }
            }
            Lifecycle::Waiting { .. }
            | Lifecycle::BackingOff(_)
            | Lifecycle::Idle(_)
            | Lifecycle::Down(_) => {
                self.fail_start();
                self.close_stop();
            }
        }
    }

    /// The span of which an attempt of the ready check is a part.
    pub(super) fn ready_span(&self) -> Span {
        self.spans.ready.clone().unwrap_or_else(Span::none)
    }

    /// The start has ended without being ready, if one was under way.
    fn fail_start(&mut self) {
        let Some(start) = self.close_start() else { return };
        if start.is_disabled() {
            return;
        }
        let failure = messages::failure(&self.state, &self.spec, &self.run.diagnostics, Vec::new);
        match failure.map(|failure| failure.kind) {
            None | Some(FailureKind::Stopped) => start.record("outcome", "stopped"),
            Some(kind) => start.record("outcome", debug(kind)).record("otel.status_code", "ERROR"),
        };
    }

    fn close_start(&mut self) -> Option<Span> {
        self.spans.ready = None;
        self.spans.start.take()
    }

    fn stop_span(&self, ending: &Ending) -> Span {
        let (sidecar, pid) = (self.spec.name.as_str(), self.run.pid);
        let reason = reason(&ending.cause, &self.run.diagnostics);
        info_span!("sidecar.stop", sidecar, process.pid = pid, reason = ?reason, outcome = Empty, process.exit.code = Empty)
    }

    fn close_stop(&mut self) {
        let Some(stop) = self.spans.stop.take() else { return };
        let (outcome, exit) = match self.outcome {
            StopOutcome::NotRunning | StopOutcome::Detached => ("none", None),
            StopOutcome::Graceful(exit) => ("graceful", Some(exit)),
            StopOutcome::GroupKilled(exit) => ("group killed", Some(exit)),
            StopOutcome::Killed(exit) => ("killed", Some(exit)),
            StopOutcome::Abandoned => ("abandoned", None),
        };
        stop.record("outcome", outcome);
        stop.record("process.exit.code", exit.and_then(|exit| exit.code));
    }
}
