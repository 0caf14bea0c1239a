//! How soon AIOS shows something, and is connected, beside the least that any Tauri app has to do.

use std::{path::Path, process::Command};

use anyhow::Result;
use tempfile::TempDir;

use super::{
    Effort,
    backends::mib,
    build::Workspace,
    collector::{Collector, Plan},
    display::Xvfb,
    processes::Launch,
    report::{Samples, Table},
};

/// What an app needs to run where nobody looks: a display, a home of its own, and somebody to report to.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) collector: Collector,
    display: Xvfb,
    home: TempDir,
}

impl Stage {
    pub(crate) fn set(plan: Option<Plan>) -> Result<Self> {
        Ok(Self { collector: Collector::start(plan)?, display: Xvfb::start()?, home: tempfile::tempdir()? })
    }

    pub(crate) fn launch(&self, app: &Path) -> Result<Launch> {
        let mut command = Command::new(app);
        command.env("DISPLAY", &self.display.name).env("GDK_BACKEND", "x11").env_remove("WAYLAND_DISPLAY");
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, self.home.path().join(variable));
        }
        Launch::start(command)
    }
}

/// What one app was measured as.
#[derive(Debug, Default)]
struct Measured {
    mounted: Samples,
    connected: Samples,
    after: Samples,
    pss: Samples,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let apps = workspace.apps()?;
    let stage = Stage::set(None)?;
    // The first start of each fills caches, and counts for nothing.
    trial(&stage, &apps.empty_shell, false, &mut Measured::default())?;
    trial(&stage, &apps.aios, true, &mut Measured::default())?;
    let [mut empty, mut aios] = [Measured::default(), Measured::default()];
    for _ in 0..effort.launches {
        trial(&stage, &apps.empty_shell, false, &mut empty)?;
        trial(&stage, &apps.aios, true, &mut aios)?;
    }
    let mut table = Table::new(["empty shell", "AIOS"]);
    table.row("spawn to mounted", "ms", [empty.mounted, aios.mounted]);
    table.row("spawn to connected", "ms", [empty.connected, aios.connected]);
    table.row("mounted to connected", "ms", [empty.after, aios.after]);
    table.row("PSS of all processes", "MiB", [empty.pss, aios.pss]);
    table.note("Mounted: the empty shell's page is parsed; AIOS's first React commit. Under Xvfb, by the page's own clock.");
    Ok(table)
}

fn trial(stage: &Stage, app: &Path, connects: bool, measured: &mut Measured) -> Result<()> {
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
