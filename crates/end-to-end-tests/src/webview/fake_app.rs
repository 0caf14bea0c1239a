//! `fake-app` as an app with a sidecar and pages. It dies with its test.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::App;
use integration_tests::TEST_TIMEOUT;

/// Starts the `fake-app` beside the program of its sidecar, and waits until the sidecar is ready. `apps/fake-app/src/page.rs`
/// describes the `variables`.
///
/// # Errors
/// As [`App::launch`], or the sidecar did not become ready.
pub async fn launch_fake_app(
    sidecar: &Path,
    arguments: &[&str],
    variables: &[(&str, String)],
) -> Result<App> {
    let (app, _) = launch_fake_app_to_die(sidecar, arguments, variables, 1_000, "park").await?;
    Ok(app)
}

/// Like [`launch_fake_app`], for a sidecar on demand: the app does not wait for it, because that would be its first use.
///
/// # Errors
/// As [`App::launch`].
pub async fn launch_fake_app_on_demand(sidecar: &Path, variables: &[(&str, String)]) -> Result<App> {
    let (app, _) = launch(sidecar, &[], variables, 1_000, ("starting", "park")).await?;
    Ok(app)
}

/// Like [`launch_fake_app`], with this grace period of the sidecar in milliseconds, and this death of the app
/// (`apps/fake-app/src/death.rs`). The app dies when the returned connection ends.
///
/// # Errors
/// As above.
pub async fn launch_fake_app_to_die(
    sidecar: &Path,
    arguments: &[&str],
    variables: &[(&str, String)],
    grace_ms: u32,
    death: &str,
) -> Result<(App, TcpStream)> {
    launch(sidecar, arguments, variables, grace_ms, ("ready", death)).await
}

/// Starts the app, and waits for its moment: `ready` is when the sidecar is, `starting` is at once.
async fn launch(
    sidecar: &Path,
    arguments: &[&str],
    variables: &[(&str, String)],
    grace_ms: u32,
    (moment, death): (&str, &str),
) -> Result<(App, TcpStream)> {
    let name = sidecar.file_name().and_then(|name| name.to_str()).context("the sidecar has no name")?;
    let test = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = test.local_addr()?.port();
    // The driver does not pass the test's arguments to the app: a script does.
    let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
    let variables: String =
        variables.iter().map(|(name, value)| format!("{name}={} ", quoted(value))).collect();
    let program = sidecar.with_file_name("fake-app");
    let program = quoted(program.to_str().context("the path of the app is not UTF-8")?);
    let arguments = arguments.join(" ");
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("fake-app-of-a-test");
    let line = format!("{variables} exec {program} {grace_ms} {port} {moment} {death} {name} {arguments}");
    fs::write(&script, format!("#!/bin/sh\n{line}\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let app = App::launch(&script).await?;
    // The app reports its moment, and continues when the connection ends.
    let ready = async {
        let (mut connection, _) = test.accept().await?;
        connection.read_exact(&mut [0; 5]).await?;
        std::io::Result::Ok(connection)
    };
    let connection = timeout(TEST_TIMEOUT, ready).await.context("the app did not report its moment")??;
    Ok((app, connection))
}

/// The npm package of the plugin, as one script that defines `pillion`.
///
/// # Errors
/// The script is not built.
pub fn client_script() -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tauri-plugin-pillion/dist-iife/pillion.js");
    fs::read_to_string(&file).with_context(|| {
        format!("{} is not built: run `npm run bundle -w crates/tauri-plugin-pillion`", file.display())
    })
}
