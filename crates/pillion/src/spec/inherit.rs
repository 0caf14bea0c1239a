//! Which environment variables a program inherits. `spawn::environment` applies the choice.

use serde::Deserialize;

/// Which environment variables of this process a sidecar inherits. The default is all of them, except those that are rarely
/// meant for a local server: the proxy variables and `NODE_OPTIONS`.
///
/// A name is exact, or it ends with `*`, which stands for any characters. On Windows upper and lower case are the same.
/// The variables of its `env` are set in addition. Two rules hold always:
///
/// - A variable that is meant for only one process is never inherited: `PORT`, `HOST`, `HOSTNAME` and the address variables of
///   frameworks (such as `NITRO_PORT` and `UVICORN_HOST`), a host's token and origins, the listener or the socket of a service
///   manager (`LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_*`), the channel of a Node parent.
/// - In an `AppImage`, a snap or a Flatpak the supervisor undoes what the launcher set for the app, so that programs of the system
///   find the libraries of the system. `PATH` stays in a Flatpak.
///
/// ```
/// use pillion::{Inherit, Program};
///
/// // Everything but the cloud credentials:
/// let program = Program::new("./backend").inherit(Inherit::default().except(["AWS_*"]));
/// // A short list:
/// let program = Program::new("./backend").inherit(Inherit::only(["PATH", "HOME", "LC_*"]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Inherit {
    /// The variables to inherit. `["*"]` is all of them, proxies included; without a list, it is the default set.
    pub allow: Option<Vec<String>>,
    /// The variables to leave out of that set.
    #[serde(default)]
    pub deny: Vec<String>,
}

impl Inherit {
    /// All variables, the proxy variables and `NODE_OPTIONS` included: for a program that would otherwise be started by hand in a
    /// terminal.
    #[must_use]
    pub fn all() -> Self {
        Self::only(["*"])
    }

    /// These variables alone. On Windows also `SystemRoot`, because a program cannot open a socket without it.
    #[must_use]
    pub fn only(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { allow: Some(names.into_iter().map(Into::into).collect()), deny: Vec::new() }
    }

    /// The same set without these variables.
    #[must_use]
    pub fn except(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.deny.extend(names.into_iter().map(Into::into));
        self
    }
}
