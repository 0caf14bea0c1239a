//! Which sidecars a window may ask about: the scopes of its permissions.

use pillion::{Failure, Supervisor};
use serde::{Deserialize, Serialize};
use tauri::ipc::{CommandScope, ScopeObjectMatch};

use crate::Sidecars;

/// What a capability says under `allow` or `deny` of a permission: `{ "sidecar": "backend" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    sidecar: String,
}

impl ScopeObjectMatch for Entry {
    type Input = str;

    fn matches(&self, name: &str) -> bool {
        self.sidecar == name
    }
}

/// Why a page gets no answer. In JavaScript the first is an object; the others are strings, as Tauri's own refusals are.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Refusal {
    Failure(Failure),
    OutOfScope(String),
    /// A request makes no sense, or got no answer, or the answer broke off.
    Unanswered(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Sidecars {
    /// The sidecar called `name`, where the scope is for it: without entries under `allow` it is for all of them, and `deny`
    /// wins. What is out of scope is refused before anything is said of it, also whether it is there.
    pub(crate) fn within(&self, scope: &CommandScope<Entry>, name: &str) -> Result<&Supervisor, Refusal> {
        if scope.matches(name) {
            return Ok(self.sidecar(name)?);
        }
        Err(Refusal::OutOfScope(format!(
            "sidecar {name:?} not allowed: the scope of this permission, in the capabilities of this window, allows {} and \
             denies {}",
            list(scope.allows().iter().map(|entry| &entry.sidecar), "all"),
            list(scope.denies().iter().map(|entry| &entry.sidecar), "none"),
        )))
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>, empty: &str) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    if names.is_empty() { empty.to_owned() } else { names.join(", ") }
}
