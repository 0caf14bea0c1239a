//! Which sidecars a window may ask about: the scopes of its permissions. And the error of a command.

use pillion::{Failure, Supervisor};
use serde::{Deserialize, Serialize};
use tauri::ipc::{CommandScope, ScopeObjectMatch};

use crate::Sidecars;

/// An entry under `allow` or `deny` of a permission in a capability: `{ "sidecar": "backend" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeEntry {
    sidecar: String,
}

impl ScopeObjectMatch for ScopeEntry {
    type Input = str;

    fn matches(&self, name: &str) -> bool {
        self.sidecar == name
    }
}

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

impl Sidecars {
    /// The sidecar called `name`, if the scope includes it. A scope without `allow` entries includes all sidecars; `deny` takes
    /// precedence. The check comes before the look-up, so that the error does not say whether the sidecar exists. An error names
    /// only sidecars that the scope includes.
    pub(crate) fn in_scope(
        &self,
        scope: &CommandScope<ScopeEntry>,
        name: &str,
    ) -> Result<&Supervisor, CommandError> {
        if scope.matches(name) {
            return Ok(self.find(name, |declared| scope.matches(declared))?);
        }
        let allowed = scope.allows().iter().map(|entry| entry.sidecar.as_str());
        let allowed: Vec<_> =
            allowed.filter(|name| scope.matches(name)).map(|name| format!("{name:?}")).collect();
        let allowed = if allowed.is_empty() { "others".to_owned() } else { allowed.join(", ") };
        Err(CommandError::OutOfScope(format!(
            "sidecar {name:?} not allowed: the scope of this permission, in the capabilities of this window, allows {allowed}",
        )))
    }
}
