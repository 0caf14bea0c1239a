//! Builds and runs the app: `cargo xtask app`, `dev` and `build`.

use std::{
    env,
    path::{self, Path},
};

use anyhow::{Result, bail};
use virtual_display::Xvfb;
use xshell::{Shell, cmd};

use crate::{
    display, npm, sbom,
    setup::{self, Purpose},
    sidecar, watch,
    workspace::{Workspace, cargo, program},
};

/// Builds the app and all of its parts, and runs it until its window closes. With `screenshot`, runs it until the page is
/// connected and writes a picture of the window to that file.
pub(crate) fn run(workspace: &Workspace, release: bool, screenshot: Option<&Path>) -> Result<()> {
    if screenshot.is_some() && cfg!(not(target_os = "linux")) {
        bail!("--screenshot works on Linux only: it needs WebKitWebDriver");
    }
    setup::ensure(if screenshot.is_some() { Purpose::EndToEnd } else { Purpose::Run })?;
    npm::install(workspace)?;
    sidecar::build(workspace, release, None)?;
    let sh = workspace.shell()?;
    npm::npm(&sh, &["run", "build"]).run()?;
    build(workspace, release)?;

    let app = workspace.programs(release).join(program("aios"));
    match screenshot {
        // Always use a virtual display, so that no other window can cover the app.
        Some(file) => {
            let file = path::absolute(file)?;
            let _display = display_for(&sh, true)?;
            let screenshot = workspace.programs(release).join("screenshot");
            cmd!(sh, "{screenshot} {app} {file}").run()?;
            println!("{}", file.display());
        }
        None => {
            let _display = display_for(&sh, false)?;
            cmd!(sh, "{app}").run()?;
        }
    }
    Ok(())
}

/// Runs the app while Vite serves the front end with hot reload. If `BACKEND_PORT` names a server that the developer runs,
/// the app uses that server and starts no sidecar. Otherwise, an edit of the backend's source rebuilds the backend, and
/// the app swaps its running backend for the new one as soon as that is healthy.
pub(crate) fn dev(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    npm::install(workspace)?;
    let _watcher = if env::var_os("BACKEND_PORT").is_some() {
        None
    } else {
        sidecar::build(workspace, false, None)?;
        Some(watch::backend(workspace)?)
    };
    let sh = workspace.shell()?;
    let _display = display_for(&sh, false)?;
    npm::tauri(&sh, &["dev"]).args(arguments).run()?;
    Ok(())
}

/// Builds the packages that ship, and writes their SBOMs beside them.
pub(crate) fn bundle(workspace: &Workspace, target: Option<&str>, bundles: Option<&str>) -> Result<()> {
    setup::ensure(Purpose::Build)?;
    npm::install(workspace)?;
    sidecar::build(workspace, true, target)?;
    let options = [target.map(|triple| ["--target", triple]), bundles.map(|kinds| ["--bundles", kinds])];
    let sh = workspace.shell()?;
    npm::tauri(&sh, &["build"]).args(options.iter().flatten().flatten()).run()?;
    sbom::write(workspace, target)
}

/// Compiles the app and, on Linux, the screenshot program. The sidecar and the front end must be built already.
fn build(workspace: &Workspace, release: bool) -> Result<()> {
    let sh = workspace.shell()?;
    let mut command = cargo(&sh, &["build"]).args(["--bin", "aios"]);
    if cfg!(target_os = "linux") {
        command = command.args(["--bin", "screenshot"]);
    }
    command.args(release.then_some("--release")).run()?;
    Ok(())
}

/// Gives the commands of `sh` a display until the returned value is dropped. With `own`, always starts a virtual one.
fn display_for(sh: &Shell, own: bool) -> Result<Option<Xvfb>> {
    if !own && display::is_available() {
        return Ok(None);
    }
    let display = Xvfb::start(display::SCREEN)?;
    println!("The window is on the virtual display {}.", display.name());
    sh.set_var("DISPLAY", display.name());
    sh.set_var("GDK_BACKEND", "x11");
    Ok(Some(display))
}
