//! Which sidecars a window may ask about: the scopes of its permissions.

use pillion::Supervisor;
use serde::Deserialize;
use tauri::ipc::{CommandScope, ScopeObjectMatch};

use crate::desktop::{Sidecars, command_error::CommandError};

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
