//! The time until AIOS shows its page and is connected, and the same for an empty Tauri app.

use std::{path::Path, process::Command};

use anyhow::Result;
use tempfile::TempDir;
use virtual_display::Xvfb;

use super::{
    Effort,
    backends::mib,
    build::Workspace,
    collector::{Collector, Plan},
    processes::LaunchedApp,
    report::{Samples, Table},
};

/// The environment of a measured app: a display, a home directory of its own, and the collector of its reports.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) collector: Collector,
    display: Xvfb,
    home: TempDir,
}

impl Stage {
    pub(crate) fn set(plan: Option<Plan>) -> Result<Self> {
        Ok(Self {
            collector: Collector::start(plan)?,
            display: Xvfb::start("1280x800x24")?,
            home: tempfile::tempdir()?,
        })
    }

    pub(crate) fn launch(&self, app: &Path) -> Result<LaunchedApp> {
        let mut command = Command::new(app);
        command.env("DISPLAY", self.display.name()).env("GDK_BACKEND", "x11").env_remove("WAYLAND_DISPLAY");
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, self.home.path().join(variable));
        }
        LaunchedApp::start(command)
    }
}

/// The measurements of one app.
#[derive(Debug, Default)]
struct AppSamples {
    mounted: Samples,
    connected: Samples,
    after: Samples,
    pss: Samples,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let apps = workspace.apps()?;
    let stage = Stage::set(None)?;
    // The first start of each fills caches, and does not count.
    trial(&stage, &apps.empty_shell, false, &mut AppSamples::default())?;
    trial(&stage, &apps.aios, true, &mut AppSamples::default())?;
    let [mut empty, mut aios] = [AppSamples::default(), AppSamples::default()];
    for _ in 0..effort.launches {
        trial(&stage, &apps.empty_shell, false, &mut empty)?;
        trial(&stage, &apps.aios, true, &mut aios)?;
    }
    let mut table = Table::new(["empty shell", "AIOS"]);
    table.row("spawn to mounted", "ms", [empty.mounted, aios.mounted]);
    table.row("spawn to connected", "ms", [empty.connected, aios.connected]);
    table.row("mounted to connected", "ms", [empty.after, aios.after]);
    table.row("PSS of all processes", "MiB", [empty.pss, aios.pss]);
    table.note("Mounted: the end of parsing in the empty shell, and the first React commit in AIOS. Under Xvfb, by the page's own clock.");
    Ok(table)
}

fn trial(stage: &Stage, app: &Path, connects: bool, measured: &mut AppSamples) -> Result<()> {
    let launch = stage.launch(app)?;
    if connects {
        let [mounted, connected] = stage.collector.marks(["mounted", "connected"])?;
        measured.mounted.push(mounted - launch.spawned_at);
        measured.connected.push(connected - launch.spawned_at);
        measured.after.push(connected - mounted);
    } else {
        let [mounted] = stage.collector.marks(["mounted"])?;
        measured.mounted.push(mounted - launch.spawned_at);
    }
    measured.pss.push(mib(launch.pss()?));
    launch.end()
}
