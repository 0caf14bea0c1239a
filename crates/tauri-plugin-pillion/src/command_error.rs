//! Why a command of the plugin failed, as the page gets it.

use pillion::Failure;
use serde::Serialize;

/// Why a command failed. In JavaScript a failure is an object; the others are strings, as Tauri's own rejections are.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum CommandError {
    /// The sidecar is down, or its name is not declared.
    Failure(Failure),
    /// The window's capability does not include this sidecar.
    OutOfScope(String),
    /// A request is malformed, or got no response, or the response broke off.
    NoResponse(String),
}

impl CommandError {
    pub(crate) fn no_response(reason: impl ToString) -> Self {
        Self::NoResponse(reason.to_string())
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
