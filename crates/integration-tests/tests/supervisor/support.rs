//! Waiting for what a supervisor tells.

use integration_tests::ProcessTree;
use pillion::{Events, Failure, FailureKind, SidecarEvent, State, Status, Stream};

pub(crate) fn tree() -> ProcessTree {
    ProcessTree::new(env!("CARGO_BIN_EXE_fake-sidecar"))
}

/// Waits for the first event that `wanted` makes something of.
pub(crate) async fn first<T>(events: &mut Events, mut wanted: impl FnMut(SidecarEvent) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the event comes before the sidecar is down for good");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// Waits for the first status of this phase.
pub(crate) async fn phase(events: &mut Events, phase: State) -> Status {
    status(events, |status| status.state == phase).await
}

/// Waits for the first status that fits.
pub(crate) async fn status(events: &mut Events, fits: impl Fn(&Status) -> bool) -> Status {
    first(events, |event| match event {
        SidecarEvent::Status(status) if fits(&status) => Some(*status),
        _ => None,
    })
    .await
}

/// Waits for the first notice.
pub(crate) async fn notice(events: &mut Events) -> String {
    first(events, |event| match event {
        SidecarEvent::Notice(text) => Some(text),
        _ => None,
    })
    .await
}

/// Waits for this line of output.
pub(crate) async fn line(events: &mut Events, wanted: &str) {
    first(events, |event| match event {
        SidecarEvent::Output(batch) => batch.lines().any(|line| line.text() == wanted).then_some(()),
        _ => None,
    })
    .await;
}

/// What is left of the events until the sidecar is down: the lines of one stream, and whether any are missing.
pub(crate) async fn rest(events: &mut Events, stream: Stream) -> (Vec<String>, bool) {
    let (mut lines, mut missed) = (Vec::new(), false);
    first(events, |event| match event {
        SidecarEvent::Output(batch) if batch.stream == stream => {
            lines.extend(batch.lines().map(|line| line.text()));
            None
        }
        SidecarEvent::Missed(_) => {
            missed = true;
            None
        }
        SidecarEvent::Status(status) if matches!(status.state, State::Stopped | State::Failed) => Some(()),
        _ => None,
    })
    .await;
    (lines, missed)
}

/// Fails unless the failure is of this kind, and its message holds each of these parts.
#[track_caller]
pub(crate) fn assert_failure(failure: &Failure, kind: FailureKind, parts: &[&str]) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    for part in parts {
        assert!(failure.message.contains(part), "{part:?} is not in {:?}", failure.message);
    }
}
