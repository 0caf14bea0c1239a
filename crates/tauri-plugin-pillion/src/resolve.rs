//! Decides which program a sidecar runs, or which server of the developer is used instead.

use std::{
    ffi::OsStr,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use pillion::protocol::announcement::parse_port;
use tauri::Config;

/// The environment variable that names, in a development build, the port of a server that the developer started. That server
/// is used if the sidecar was not built, and the app never stops it.
pub(crate) const ATTACH_VARIABLE: &str = "BACKEND_PORT";

/// The program or server behind a sidecar's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The path of the program to run. The file may be absent: the supervisor then says what is wrong with it.
    Program(PathBuf),
    /// The port of a server that the developer started.
    Server(NonZeroU16),
}

/// `BACKEND_PORT` is set and needed, but is not a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{ATTACH_VARIABLE} is {0:?}: set it to the port of the server that you started, a number from 1 to 65535"
)]
pub(crate) struct NotAPort(String);

/// Finds `program` in `folder`, where Tauri puts sidecars: beside the app's own executable.
///
/// `attach` is the value of [`ATTACH_VARIABLE`], or `None` outside development.
pub(crate) fn resolve(folder: &Path, program: &str, attach: Option<&OsStr>) -> Result<Resolved, NotAPort> {
    // The suffix is appended, because `with_extension` would turn `a.b` into `a.exe`.
    let path = folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX));
    match attach {
        Some(port) if !path.exists() => match parse_port(port.as_encoded_bytes()) {
            Some(port) => Ok(Resolved::Server(port)),
            None => Err(NotAPort(port.to_string_lossy().into_owned())),
        },
        _ => Ok(Resolved::Program(path)),
    }
}

/// The origins of the app's own pages, which the sidecar is told to admit.
///
/// They differ by platform and configuration: `tauri://localhost` on macOS and Linux; on Windows `http://tauri.localhost`, or
/// `https://tauri.localhost` with `useHttpsScheme`; and in development the development server. No other origin is admitted: in
/// a browser `http://tauri.localhost` is any program that listens on port 80 of this machine.
pub(crate) fn origins(config: &Config, dev: bool) -> Vec<String> {
    let mut origins = if cfg!(windows) {
        let https = config.app.windows.iter().any(|window| window.use_https_scheme);
        let http = config.app.windows.iter().any(|window| !window.use_https_scheme) || !https;
        let mut origins = Vec::new();
        origins.extend(https.then(|| "https://tauri.localhost".to_owned()));
        origins.extend(http.then(|| "http://tauri.localhost".to_owned()));
        origins
    } else {
        vec!["tauri://localhost".to_owned()]
    };
    if dev && let Some(url) = &config.build.dev_url {
        origins.push(url.origin().ascii_serialization());
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_built_sidecar_takes_precedence_over_a_developers_server() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(format!("api.v2{}", std::env::consts::EXE_SUFFIX));
        let find = |attach: Option<&str>| resolve(folder.path(), "api.v2", attach.map(OsStr::new));
        assert_eq!(find(None), Ok(Resolved::Program(program.clone())));
        assert_eq!(find(Some("4242")), Ok(Resolved::Server(NonZeroU16::new(4242).unwrap())));
        assert_eq!(find(Some("0")), Err(NotAPort("0".into())));
        fs::write(&program, "").unwrap();
        assert_eq!(find(Some("4242")), Ok(Resolved::Program(program)));
    }

    #[test]
    fn only_the_apps_own_origins_are_admitted() {
        let mut config = Config::default();
        config.build.dev_url = Some("http://127.0.0.1:1420/app".parse().unwrap());
        let own = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
        assert_eq!(origins(&config, false), [own]);
        assert_eq!(origins(&config, true), [own, "http://127.0.0.1:1420"]);
    }
}
