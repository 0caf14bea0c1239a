//! What app and client tell each other: one JSON object a line.

use pillion::{ExitReport, LogEntry, Status, Usage};
use serde::{Deserialize, Serialize};

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The maximum length of a request, in bytes with its newline.
pub const REQUEST_LIMIT: usize = 4 * 1024;
/// How many clients an app serves at once.
pub const CONNECTION_LIMIT: usize = 32;

/// What clients may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ControlLevel {
    /// Look at states and output.
    Read,
    /// Restart sidecars as well.
    Full,
}

/// Which app it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AppInfo {
    /// Its name for people.
    pub name: String,
    /// Its identifier, such as `com.example.notes`, if it has one.
    pub identifier: Option<String>,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// Its process id.
    pub pid: u32,
}

impl AppInfo {
    /// This process, under this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), identifier: None, version: None, pid: std::process::id() }
    }

    /// With this identifier.
    #[must_use]
    pub fn identifier(mut self, identifier: impl Into<String>) -> Self {
        self.identifier = Some(identifier.into());
        self
    }

    /// With this version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }
}

/// The first line that a client receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Greeting {
    /// The version of the protocol, [`PROTOCOL_VERSION`].
    pub pillion_control: u32,
    /// Which app answers.
    pub app: AppInfo,
    /// What it allows.
    pub control: ControlLevel,
}

impl Greeting {
    pub(crate) fn new(app: AppInfo, control: ControlLevel) -> Self {
        Self { pillion_control: PROTOCOL_VERSION, app, control }
    }
}

/// What a client asks. The fields of each request but its sidecar have defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "camelCase")]
#[non_exhaustive]
pub enum ControlRequest {
    /// The present status of this sidecar, or of all.
    Status {
        /// The name of the sidecar.
        #[serde(default)]
        sidecar: Option<String>,
    },
    /// The present status of this sidecar, or of all, and then each new one, until the app ends.
    Watch {
        /// The name of the sidecar.
        #[serde(default)]
        sidecar: Option<String>,
    },
    /// The output of a sidecar.
    Logs {
        /// The name of the sidecar.
        sidecar: String,
        /// How many of the kept lines come at most, the newest ones; all by default.
        #[serde(default)]
        tail: Option<u64>,
        /// The kept lines come only if the app read them at or after this time, in milliseconds since the Unix epoch.
        #[serde(default)]
        since: Option<u64>,
        /// Whether the lines to come follow, until the app closes the sidecar.
        #[serde(default)]
        follow: bool,
        /// Whether each line has its level.
        #[serde(default)]
        levels: bool,
    },
    /// The reports about the ends of the last runs of this sidecar, or of all, the newest of each sidecar last.
    ExitReports {
        /// The name of the sidecar.
        #[serde(default)]
        sidecar: Option<String>,
    },
    /// What this sidecar uses, or each one, now and again at this interval, until the app ends. The app measures only while a client reads.
    Usage {
        /// The name of the sidecar.
        #[serde(default)]
        sidecar: Option<String>,
        /// The time between two values of a sidecar, in milliseconds; 1000 by default, and at least 500.
        #[serde(default, rename = "intervalMs")]
        interval_ms: Option<u64>,
    },
    /// All that is known of this sidecar, or of all, as files without secrets.
    Diagnose {
        /// The name of the sidecar.
        #[serde(default)]
        sidecar: Option<String>,
    },
    /// Stop the sidecar if it runs, start it, and wait until it is ready. The answer is its status. Needs [`ControlLevel::Full`].
    Restart {
        /// The name of the sidecar.
        sidecar: String,
    },
}

/// What an app answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
#[non_exhaustive]
pub enum ControlAnswer {
    /// The status of a sidecar.
    Status {
        /// The status.
        status: Box<Status>,
    },
    /// A line of output.
    Line(LogEntry),
    /// The report about the end of a run.
    ExitReport {
        /// The report.
        report: Box<ExitReport>,
    },
    /// What a sidecar uses.
    Usage {
        /// The figures.
        usage: Box<Usage>,
    },
    /// A file of a diagnosis.
    File {
        /// Its path in the diagnosis, with slashes, such as `sidecars/backend/output.log`.
        name: String,
        /// Its text.
        text: String,
    },
    /// The client was too slow, and the app does not keep these lines any more.
    Missed {
        /// The number of lines that are missing here: those whose numbers (`seq`) the client did not get.
        lines: u64,
    },
    /// The answer is complete.
    Done,
    /// The request was refused, or failed. No answer follows.
    Error {
        /// Which error, for programs.
        kind: RefusalKind,
        /// What happened and what to do, for people.
        message: String,
    },
    /// An answer of a later version. Clients ignore it.
    #[serde(other)]
    Unknown,
}

/// Why a request was refused, or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RefusalKind {
    /// The line is not a request: it is too long, no JSON, or lacks a field.
    Malformed,
    /// This version of the app does not know the request.
    UnknownRequest,
    /// The app has no sidecar of this name.
    UnknownSidecar,
    /// The app does not allow the request.
    NotAllowed,
    /// The app serves too many clients.
    Busy,
    /// The request was executed, and failed.
    Failed,
    /// An error of a later version.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_have_the_documented_form() {
        let request: ControlRequest =
            serde_json::from_str(r#"{"request":"logs","sidecar":"a","later":1}"#).unwrap();
        let logs = ControlRequest::Logs {
            sidecar: "a".to_owned(),
            tail: None,
            since: None,
            follow: false,
            levels: false,
        };
        assert_eq!(request, logs);
        let status: ControlRequest = serde_json::from_str(r#"{"request":"status"}"#).unwrap();
        assert_eq!(status, ControlRequest::Status { sidecar: None });
        let usage: ControlRequest =
            serde_json::from_str(r#"{"request":"usage","sidecar":"a","intervalMs":2000}"#).unwrap();
        let expected = ControlRequest::Usage { sidecar: Some("a".to_owned()), interval_ms: Some(2000) };
        assert_eq!(usage, expected);
        let done = serde_json::to_string(&ControlAnswer::Done).unwrap();
        assert_eq!(done, r#"{"answer":"done"}"#);
        let greeting = Greeting::new(AppInfo { pid: 7, ..AppInfo::new("AIOS") }, ControlLevel::Read);
        assert_eq!(
            serde_json::to_string(&greeting).unwrap(),
            r#"{"pillionControl":1,"app":{"name":"AIOS","identifier":null,"version":null,"pid":7},"control":"read"}"#
        );
    }

    #[test]
    fn answers_of_later_versions_are_unknown_and_not_errors() {
        let later: ControlAnswer = serde_json::from_str(r#"{"answer":"later","cpu":1}"#).unwrap();
        assert_eq!(later, ControlAnswer::Unknown);
        let error: ControlAnswer =
            serde_json::from_str(r#"{"answer":"error","kind":"later","message":"m"}"#).unwrap();
        assert_eq!(error, ControlAnswer::Error { kind: RefusalKind::Unknown, message: "m".to_owned() });
    }
}
