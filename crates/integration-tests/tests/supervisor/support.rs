//! Waits for the events of a supervisor.

use std::time::Duration;

use integration_tests::ProcessTree;
use pillion::{Events, Failure, FailureKind, OutputStream, SidecarEvent, Spec, State, Status, Supervisor};

pub(crate) fn tree() -> ProcessTree {
    ProcessTree::new(env!("CARGO_BIN_EXE_fake-sidecar"))
}

/// Waits for the first event for which `wanted` returns a value.
pub(crate) async fn first<T>(events: &mut Events, mut wanted: impl FnMut(SidecarEvent) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the event comes before the end of the events");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// Waits for the first status with this state.
pub(crate) async fn state(events: &mut Events, state: State) -> Status {
    status(events, |status| status.state == state).await
}

/// Waits for the first status that fulfils the condition.
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

/// Reads the events until the sidecar is down. Returns the lines of one stream, and whether some were missed.
pub(crate) async fn rest(events: &mut Events, stream: OutputStream) -> (Vec<String>, bool) {
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

/// Fails unless the failure has this kind and its message contains each of these parts.
#[track_caller]
pub(crate) fn assert_failure(failure: &Failure, kind: FailureKind, parts: &[&str]) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    for part in parts {
        assert!(failure.message.contains(part), "{part:?} is not in {:?}", failure.message);
    }
}

/// The ready time-outs for a start that must expire after the sidecar has taken its steps. How soon the sidecar takes them
/// depends on the machine; the shortest sufficient limit is used.
const EXPIRIES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(3), Duration::from_secs(30)];

/// A start that has expired.
pub(crate) struct Expired {
    /// Its drop would be a request to stop.
    _supervisor: Supervisor,
    pub(crate) events: Events,
    pub(crate) failure: Failure,
}

/// Starts the sidecar until its start expires with a message that contains each of these parts, with the next longer limit
/// each time. Fails if the longest one is too short.
pub(crate) async fn expire(spec: impl Fn() -> Spec, parts: &[&str]) -> Expired {
    let mut messages = Vec::new();
    for limit in EXPIRIES {
        let (supervisor, events) = Supervisor::start(spec().ready_timeout(limit));
        let failure = supervisor.ready().await.expect_err("the start fails");
        assert_eq!(failure.kind, FailureKind::ReadyTimeout, "{failure:?}");
        if parts.iter().all(|part| failure.message.contains(part)) {
            return Expired { _supervisor: supervisor, events, failure };
        }
        let _ = supervisor.stop().await;
        messages.push(failure.message);
    }
    panic!("{parts:?} are not in {messages:?}");
}
