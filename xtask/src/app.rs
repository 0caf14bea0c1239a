//! Building the app and running it: for use, for a picture, and for work on it.

use std::{
    env,
    path::{self, Path},
};

use anyhow::{Result, bail};
use xshell::{Shell, cmd};

use crate::{
    bill,
    display::{self, Xvfb},
    npm,
    setup::{self, Purpose},
    sidecar, watch,
    workspace::{Workspace, cargo, program},
};

/// Builds the app and everything it consists of, and runs it until its window is closed; or until it is connected,
/// when only a picture is wanted.
pub(crate) fn run(workspace: &Workspace, release: bool, screenshot: Option<&Path>) -> Result<()> {
    if screenshot.is_some() && cfg!(not(target_os = "linux")) {
        bail!("--screenshot drives the webview through WebKitWebDriver, which only Linux has");
    }
    setup::ensure(if screenshot.is_some() { Purpose::Drive } else { Purpose::Run })?;
    npm::install(workspace)?;
    sidecar::build(workspace, release, None)?;
    let sh = workspace.shell()?;
    npm::npm(&sh, &["run", "build"]).run()?;
    build(workspace, release)?;

    let app = workspace.programs(release).join(program("aios"));
    match screenshot {
        // A picture is always taken on a display in memory: nothing else may lie on top of the window.
        Some(file) => {
            let file = path::absolute(file)?;
            let _display = display_for(&sh, true)?;
            let photographer = workspace.programs(release).join("screenshot");
            cmd!(sh, "{photographer} {app} {file}").run()?;
            println!("{}", file.display());
        }
        None => {
            let _display = display_for(&sh, false)?;
            cmd!(sh, "{app}").run()?;
        }
    }
    Ok(())
}

/// Runs the app with the front end served by Vite, so that an edit shows without a build. Where `BACKEND_PORT` names a
/// server that the developer has started, there is no sidecar, and the app uses that one. Otherwise an edit of the
/// backend's source replaces the running backend, once it compiles and is healthy, and nothing else.
pub(crate) fn dev(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    npm::install(workspace)?;
    let _watcher = if env::var_os("BACKEND_PORT").is_some() {
        sidecar::remove(workspace)?;
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

/// Makes the packages that ship, and bills of materials beside them.
pub(crate) fn bundle(workspace: &Workspace, target: Option<&str>, bundles: Option<&str>) -> Result<()> {
    setup::ensure(Purpose::Build)?;
    npm::install(workspace)?;
    sidecar::build(workspace, true, target)?;
    let options = [target.map(|triple| ["--target", triple]), bundles.map(|kinds| ["--bundles", kinds])];
    let sh = workspace.shell()?;
    npm::tauri(&sh, &["build"]).args(options.iter().flatten().flatten()).run()?;
    bill::write(workspace, target)
}

/// Compiles the app, and the program that takes its picture. The sidecar and the front end must be there.
fn build(workspace: &Workspace, release: bool) -> Result<()> {
    let sh = workspace.shell()?;
    let mut command = cargo(&sh, &["build"]).args(["--bin", "aios"]);
    if cfg!(target_os = "linux") {
        command = command.args(["--bin", "screenshot"]);
    }
    command.args(release.then_some("--release")).run()?;
    Ok(())
}

/// Sees to it that commands of `sh` have a display, for as long as the returned value lives.
fn display_for(sh: &Shell, own: bool) -> Result<Option<Xvfb>> {
    if !own && display::is_there() {
        return Ok(None);
    }
    let display = Xvfb::start()?;
    println!("The window is on a display in memory, {}.", display.name);
    sh.set_var("DISPLAY", &display.name);
    sh.set_var("GDK_BACKEND", "x11");
    Ok(Some(display))
}
