//! Puts the events of a sidecar into sentences for a terminal: `pillion run` and [`TerminalOutput`](crate::TerminalOutput) show the same.

use std::sync::Arc;

use super::{events::SidecarEvent, exit_report::ExitReport};
use crate::status::{State, Status};

/// What a message means for the user, which a terminal shows as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageTone {
    /// All is as it should be.
    Good,
    /// Something is under way, or is worth a look.
    Note,
    /// A failure.
    Bad,
}

/// A sentence about a sidecar. It can contain words that the sidecar has chosen: remove control sequences before a terminal shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusMessage {
    /// What it means for the user.
    pub tone: MessageTone,
    /// The sentence. Most begin with the name of the sidecar.
    pub text: String,
}

impl StatusMessage {
    fn new(tone: MessageTone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// Puts the events of one sidecar into sentences, each once. It says nothing about the output.
///
/// ```no_run
/// # async fn example() {
/// use pillion::{Spec, StatusMessages, Supervisor};
///
/// let (_backend, mut events) = Supervisor::start(Spec::run("backend", "./backend"));
/// let mut messages = StatusMessages::default();
/// while let Some(event) = events.next().await {
///     messages.messages_for(&event).iter().for_each(|message| println!("{}", message.text));
/// }
/// # }
/// ```
#[derive(Debug, Default)]
pub struct StatusMessages {
    /// The last message, so that it is not repeated.
    last: String,
    /// How far the program said it was.
    progress: Option<String>,
    /// The state of the last status.
    state: Option<State>,
    /// The process whose start was told last.
    present: Option<u32>,
    /// The report of a run that ended in a way that a person should know about. Its sentence comes after that of the next state.
    ended: Option<Arc<ExitReport>>,
}

impl StatusMessages {
    /// The sentences about the next event, in their order.
    pub fn messages_for(&mut self, event: &SidecarEvent) -> Vec<StatusMessage> {
        match event {
            SidecarEvent::Status(status) => {
                let mut messages = self.status(status);
                messages.extend(self.progress(status));
                messages
            }
            SidecarEvent::Notice(text) => vec![StatusMessage::new(MessageTone::Note, text)],
            SidecarEvent::Ended(report) if report.is_notable() => {
                if report.pid == self.present {
                    self.ended = Some(Arc::clone(report));
                    return Vec::new();
                }
                // No status follows the end of a run that was not the present one: of a swap, or of an earlier start of the program.
                vec![StatusMessage::new(MessageTone::Note, of_process(report, report.summary()))]
            }
            SidecarEvent::Missed(_) => vec![StatusMessage::new(
                MessageTone::Note,
                "output came faster than it could be shown; some of it is missing here",
            )],
            _ => Vec::new(),
        }
    }

    fn progress(&mut self, status: &Status) -> Option<StatusMessage> {
        if self.progress == status.progress {
            return None;
        }
        self.progress.clone_from(&status.progress);
        let words = self.progress.as_ref()?;
        Some(StatusMessage::new(MessageTone::Note, format!("{}: {words}", status.sidecar)))
    }

    fn status(&mut self, status: &Status) -> Vec<StatusMessage> {
        let Some(message) = self.of_state(status).filter(|message| message.text != self.last) else {
            return Vec::new();
        };
        self.last.clone_from(&message.text);
        let ended = self.ended.take().map(|report| StatusMessage::new(MessageTone::Note, about(&report)));
        [message].into_iter().chain(ended).collect()
    }

    fn of_state(&mut self, status: &Status) -> Option<StatusMessage> {
        let name = &status.sidecar;
        let reason = status.reason.as_deref().unwrap_or_default();
        let before = self.state.replace(status.state);
        let (tone, text) = match status.state {
            // The next status has the process, or says why there is none.
            State::Starting if status.pid.is_none() && status.reason.is_none() => return None,
            State::Starting if status.pid.is_none() || status.pid != self.present => {
                self.present = status.pid;
                let pid = status.pid.map(|pid| format!(" as process {pid}")).unwrap_or_default();
                (MessageTone::Note, format!("{name} is starting{pid}"))
            }
            State::Unhealthy => (MessageTone::Note, format!("{name} is unhealthy: {reason}")),
            State::Ready => {
                let at = status.url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
                let version = status.version.as_ref().map(|version| format!(", version {version}"));
                let version = version.unwrap_or_default();
                match (std::mem::replace(&mut self.present, status.pid), status.pid) {
                    (Some(old), Some(new)) if old != new => (
                        MessageTone::Good,
                        format!("{name} is ready{at}{version}: process {new} has replaced process {old}"),
                    ),
                    // Such a status has new progress alone.
                    _ if before == Some(State::Ready) => return None,
                    _ if before == Some(State::Unhealthy) => {
                        (MessageTone::Good, format!("{name} is healthy again"))
                    }
                    _ => {
                        let took = status.started.map(|started| status.at.saturating_sub(started));
                        let after = took.map(|took| format!(" after {took} ms")).unwrap_or_default();
                        (MessageTone::Good, format!("{name} is ready{at}{after}{version}"))
                    }
                }
            }
            State::BackingOff => (MessageTone::Bad, format!("{reason}; starting it again")),
            // A failure is told once, in the state that follows.
            State::Stopping if status.failure.is_some() => return None,
            State::Stopping => (MessageTone::Note, format!("{name} is stopping: {reason}")),
            State::Idle => (MessageTone::Note, format!("{name} is idle: {reason}")),
            State::Stopped => (MessageTone::Good, format!("{name} is down: {reason}")),
            State::Failed => (MessageTone::Bad, reason.to_owned()),
            State::Starting | State::Waiting => return None,
        };
        Some(StatusMessage { tone, text })
    }
}

/// What the message about the state does not say about the end of a run. A new process may run already.
fn about(report: &ExitReport) -> String {
    of_process(report, if report.killed.is_some() { report.summary() } else { report.facts() })
}

fn of_process(report: &ExitReport, text: String) -> String {
    report.pid.map(|pid| format!("process {pid}: {text}")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report(pid: u32, killed: Value) -> ExitReport {
        serde_json::from_value(json!({
            "sidecar": "api", "run": 1, "pid": pid, "startedAt": 0, "endedAt": 2000, "lifetimeMs": 2000,
            "readyAfterMs": null, "exit": null, "reason": "restart", "message": null, "killed": killed,
            "coreDumped": null, "peakMemory": null, "cpuTimeMs": null, "restarts": 0
        }))
        .unwrap()
    }

    fn killed() -> Value {
        json!({ "why": "graceOver", "leader": true, "survived": false })
    }

    fn status(state: &str, pid: u32, at: u64) -> SidecarEvent {
        let status = json!({
            "sidecar": "api", "seq": at, "at": at, "state": state, "readiness": "up", "pid": pid, "started": 1, "restarts": 0,
            "reason": "why"
        });
        SidecarEvent::Status(serde_json::from_value(status).unwrap())
    }

    fn told(messages: &mut StatusMessages, event: &SidecarEvent) -> Vec<String> {
        messages.messages_for(event).into_iter().map(|message| message.text).collect()
    }

    #[test]
    fn a_killed_run_is_told_with_its_process() {
        let killed = about(&report(4711, killed()));
        assert!(killed.starts_with("process 4711: api ended"), "{killed}");
        assert!(
            killed.contains("did not end within its grace period, and was killed. It ran for"),
            "{killed}"
        );
        assert!(about(&report(4711, Value::Null)).starts_with("process 4711: It ran for"));
    }

    #[test]
    fn a_start_is_told_once() {
        let starting = |pid: Value, reason: Value| {
            let status = json!({
                "sidecar": "api", "seq": 1, "at": 1, "state": "starting", "readiness": "pending", "pid": pid, "started": 1,
                "restarts": 0, "reason": reason
            });
            SidecarEvent::Status(serde_json::from_value(status).unwrap())
        };
        let mut messages = StatusMessages::default();
        assert_eq!(told(&mut messages, &starting(Value::Null, Value::Null)), [""; 0], "it is being launched");
        assert_eq!(told(&mut messages, &starting(json!(7), Value::Null)), ["api is starting as process 7"]);
        assert_eq!(told(&mut messages, &starting(json!(7), json!("waiting"))), [""; 0]);
        let mut attached = StatusMessages::default();
        assert_eq!(told(&mut attached, &starting(Value::Null, json!("waiting"))), ["api is starting"]);
    }

    #[test]
    fn a_swap_names_both_processes() {
        let mut messages = StatusMessages::default();
        assert_eq!(told(&mut messages, &status("starting", 7, 1)), ["api is starting as process 7"]);
        assert_eq!(told(&mut messages, &status("ready", 7, 5)), ["api is ready after 4 ms"]);
        assert_eq!(
            told(&mut messages, &status("ready", 8, 9)),
            ["api is ready: process 8 has replaced process 7"]
        );
        assert_eq!(told(&mut messages, &status("unhealthy", 8, 10)), ["api is unhealthy: why"]);
        assert_eq!(told(&mut messages, &status("ready", 8, 11)), ["api is healthy again"]);
    }

    #[test]
    fn readiness_is_reported_once_and_again_after_another_start() {
        let mut messages = StatusMessages::default();
        assert_eq!(told(&mut messages, &status("ready", 7, 5)), ["api is ready after 4 ms"]);
        assert_eq!(told(&mut messages, &status("ready", 7, 9)), [""; 0], "it has said how far it is");
        told(&mut messages, &status("unhealthy", 7, 10));
        told(&mut messages, &status("stopping", 7, 11));
        told(&mut messages, &status("starting", 8, 12));
        assert_eq!(told(&mut messages, &status("ready", 8, 20)), ["api is ready after 19 ms"]);
    }

    #[test]
    fn a_start_has_its_length_also_if_the_first_status_comes_after_it() {
        let mut messages = StatusMessages::default();
        assert_eq!(told(&mut messages, &status("ready", 7, 5)), ["api is ready after 4 ms"]);
    }

    #[test]
    fn the_end_of_another_run_is_told_at_once_and_of_the_present_one_after_its_state() {
        let mut messages = StatusMessages::default();
        told(&mut messages, &status("starting", 7, 1));
        let other = SidecarEvent::Ended(Arc::new(report(6, killed())));
        assert!(told(&mut messages, &other)[0].starts_with("process 6: api ended"));
        let present = SidecarEvent::Ended(Arc::new(report(7, killed())));
        assert!(told(&mut messages, &present).is_empty());
        let texts = told(&mut messages, &status("stopped", 7, 2));
        assert_eq!(texts[0], "api is down: why");
        assert!(texts[1].starts_with("process 7: api ended"), "{texts:?}");
    }
}
