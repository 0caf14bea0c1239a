//! What holds only while the app is developed: servers that the developer started, and the commands in `dev`.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use pillion::protocol::announcement::parse_port;

/// Names the ports of servers that the developer started, by sidecar: `backend=4242,db=5432`. The app uses these servers instead
/// of starting the sidecars, and never stops them.
const ATTACH: &str = "PILLION_ATTACH";
/// The same for the sidecar called `backend`, or the only one: its port alone.
const ATTACH_BACKEND: &str = "BACKEND_PORT";

/// How far the app is in development.
#[derive(Debug, Default)]
pub(crate) struct Development {
    /// The project, if `tauri dev` started the app: then the commands in `dev` run.
    pub(crate) project: Option<PathBuf>,
    /// Whether a program that was rebuilt is swapped for the old one.
    pub(crate) reload: bool,
    /// The ports of the developer's servers, by sidecar.
    attached: BTreeMap<String, NonZeroU16>,
}

/// A variable for attaching is set to something else than it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAttach {
    #[error(
        "{variable} is {value:?}: set it to the port of the server that you started, a number from 1 to 65535{example}"
    )]
    NotAPort { variable: &'static str, value: String, example: &'static str },
    #[error(
        "{ATTACH} names the sidecar {name:?}, which neither tauri.conf.json nor the app's code declares; declared: {declared}"
    )]
    Unknown { name: String, declared: String },
}

impl Development {
    /// Reads the environment. `dev` says whether `tauri dev` built the app, `debug` whether it is a debug build.
    pub(crate) fn of(dev: bool, debug: bool, declared: &[&str]) -> Result<Self, InvalidAttach> {
        if !dev && !debug {
            return Ok(Self::default());
        }
        Ok(Self {
            project: dev.then(project).flatten(),
            reload: true,
            attached: attached(env::var_os(ATTACH), env::var_os(ATTACH_BACKEND), declared)?,
        })
    }

    /// An app in this project; `None` for one that is not in development. No server of the developer runs.
    #[cfg(test)]
    pub(crate) fn new(project: Option<&Path>) -> Self {
        Self { project: project.map(Path::to_owned), reload: project.is_some(), attached: BTreeMap::new() }
    }

    /// With a server that the developer started on this port.
    #[cfg(test)]
    pub(crate) fn with_server(mut self, sidecar: &str, port: NonZeroU16) -> Self {
        self.attached.insert(sidecar.to_owned(), port);
        self
    }

    /// The port of the server that the developer started for this sidecar. Tells the developer about it.
    #[expect(clippy::print_stderr, reason = "development only: the app may have no subscriber for logs")]
    pub(crate) fn attached(&self, sidecar: &str, origins: &[String]) -> Option<NonZeroU16> {
        let port = *self.attached.get(sidecar)?;
        eprintln!(
            "pillion: {sidecar}: using your server on port {port} instead of starting the sidecar; if it refuses the requests of \
             the page, start it with PILLION_ALLOWED_ORIGINS={}",
            origins.join(",")
        );
        Some(port)
    }
}

/// The folder that contains `src-tauri`. `cargo run`, which `tauri dev` calls, names the latter; an app that is started in another
/// way is looked for above the working directory, which is the project if there is no such folder.
fn project() -> Option<PathBuf> {
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
        return Path::new(&package).parent().map(Path::to_owned);
    }
    let here = env::current_dir().ok()?;
    let project = here.ancestors().find(|folder| folder.join("src-tauri").is_dir());
    Some(project.unwrap_or(&here).to_owned())
}

fn attached(
    attach: Option<OsString>,
    backend: Option<OsString>,
    declared: &[&str],
) -> Result<BTreeMap<String, NonZeroU16>, InvalidAttach> {
    let mut ports = BTreeMap::new();
    if let Some(value) = backend
        && let Some(sidecar) = declared.iter().find(|name| **name == "backend" || declared.len() == 1)
    {
        ports.insert((*sidecar).to_owned(), port(ATTACH_BACKEND, &value.to_string_lossy(), "")?);
    }
    let attach = attach.unwrap_or_default();
    let attach = attach.to_string_lossy();
    for pair in attach.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let example = ", after the sidecar's name: \"backend=4242\"";
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let port = port(ATTACH, value, example)?;
        if !declared.contains(&name) {
            return Err(InvalidAttach::Unknown { name: name.to_owned(), declared: declared.join(", ") });
        }
        ports.insert(name.to_owned(), port);
    }
    Ok(ports)
}

fn port(variable: &'static str, value: &str, example: &'static str) -> Result<NonZeroU16, InvalidAttach> {
    parse_port(value.as_bytes()).ok_or_else(|| InvalidAttach::NotAPort {
        variable,
        value: value.to_owned(),
        example,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(
        attach: Option<&str>,
        backend: Option<&str>,
        declared: &[&str],
    ) -> Result<Vec<(String, u16)>, String> {
        attached(attach.map(Into::into), backend.map(Into::into), declared)
            .map(|ports| ports.into_iter().map(|(name, port)| (name, port.get())).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_developers_server_is_named_by_its_sidecar() {
        let declared = ["api", "backend"];
        let one = |name: &str, port| Ok(vec![(name.to_owned(), port)]);
        assert_eq!(ports(None, None, &declared), Ok(vec![]));
        assert_eq!(ports(Some(" api=4242, "), None, &declared), one("api", 4242));
        assert_eq!(ports(None, Some("4242"), &declared), one("backend", 4242));
        assert_eq!(ports(None, Some("4242"), &["api"]), one("api", 4242));
        assert_eq!(ports(None, Some("4242"), &["api", "db"]), Ok(vec![]));
        assert_eq!(ports(Some("backend=1"), Some("2"), &declared), one("backend", 1));
    }

    #[test]
    fn an_invalid_variable_is_an_error_that_shows_an_example() {
        let error = ports(None, Some("0"), &["backend"]).unwrap_err();
        assert!(error.contains("BACKEND_PORT is \"0\""), "{error}");
        let error = ports(Some("4242"), None, &["backend"]).unwrap_err();
        assert!(error.contains("\"\"") && error.contains("declared: backend"), "{error}");
        let error = ports(Some("backend=x"), None, &["backend"]).unwrap_err();
        assert!(error.contains("PILLION_ATTACH is \"x\"") && error.contains("backend=4242"), "{error}");
        let error = ports(Some("api=1"), None, &["backend", "db"]).unwrap_err();
        assert!(error.contains("\"api\"") && error.contains("declared: backend, db"), "{error}");
    }
}
