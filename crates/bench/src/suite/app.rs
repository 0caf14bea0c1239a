//! The start of AIOS step by step, and the same for its page without a backend, and for an empty Tauri app.

use std::{path::Path, process::Command};

use anyhow::Result;
use tempfile::TempDir;
use virtual_display::Xvfb;

use super::{
    Effort,
    backends::mib,
    births::Births,
    build::Workspace,
    collector::{Collector, Plan, Steps},
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

    /// Starts an app. It shows the page that an argument names, if it is the empty shell.
    pub(crate) fn launch(&self, app: &Path, page: Option<&str>) -> Result<LaunchedApp> {
        let mut command = Command::new(app);
        command.args(page).env("DISPLAY", self.display.name()).env("GDK_BACKEND", "x11");
        command.env_remove("WAYLAND_DISPLAY");
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, self.home.path().join(variable));
        }
        LaunchedApp::start(command)
    }
}

/// What the window of one start showed, and when.
#[derive(Debug)]
struct Trial {
    /// In milliseconds since the spawn.
    steps: Steps,
    /// In MiB.
    pss: f64,
}

/// The page of AIOS that asks for nothing (apps/desktop/src/session.ts).
const ALONE: &str = "index.html?alone";

/// The steps in their usual order, by their names in apps/desktop/src/bench.ts, or as the kernel names a program.
const STEPS: [(&str, &str); 17] = [
    ("backend began", "the backend's main"),
    ("WebKitNetworkPr", "webview's network process"),
    ("WebKitWebProces", "webview's page process"),
    ("navigation", "navigation"),
    ("html there", "HTML there"),
    ("html parsed", "HTML parsed"),
    ("first-contentful-paint", "first picture"),
    ("begun", "first line of AIOS's own code"),
    ("status there", "status there"),
    ("token asked", "token asked"),
    ("token there", "token there"),
    ("health asked", "health asked"),
    ("backend answered", "backend answered"),
    ("health there", "health there"),
    ("mounted", "mounted"),
    ("connected", "connected"),
    ("painted", "painted"),
];

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let apps = workspace.apps()?;
    let stage = Stage::set(None)?;
    let subjects = [(&apps.empty_shell, None), (&apps.empty_shell, Some(ALONE)), (&apps.aios, None)];
    let round =
        || -> Result<Vec<Trial>> { subjects.iter().map(|(app, page)| trial(&stage, app, *page)).collect() };
    // The first start of each fills caches, and does not count.
    round()?;
    let rounds = (0..effort.launches).map(|_| round()).collect::<Result<Vec<_>>>()?;
    let samples = |value: &dyn Fn(&Trial) -> Option<f64>| -> Vec<Samples> {
        (0..subjects.len()).map(|at| rounds.iter().filter_map(|round| value(&round[at])).collect()).collect()
    };
    let mut table = Table::new(["empty shell", "AIOS's page alone", "AIOS"]);
    for (step, title) in STEPS {
        table.row(format!("spawn to {title}"), "ms", samples(&|trial| trial.steps.get(step).copied()));
    }
    table.row("PSS of all processes", "MiB", samples(&|trial| Some(trial.pss)));
    // In pairs within a round, because the machine is not as quick in each.
    let pairs = |later: usize, earlier: usize| {
        let gap = |round: &Vec<Trial>| Some(round[later].end()? - round[earlier].end()?);
        rounds.iter().filter_map(gap).collect::<Samples>()
    };
    let none = Samples::default;
    table.row("its last step after the empty shell's", "ms", [none(), pairs(1, 0), pairs(2, 0)]);
    table.row("… after that of the page alone", "ms", [none(), none(), pairs(2, 1)]);
    table.note(
        "Under Xvfb, by the page's own clock, that of the bench (processes, looked for each millisecond) and that of the backend. \
         Mounted: the script of the empty page, and the first React commit of AIOS's page. Painted: a task after the frame that follows \
         the last of these steps. The page alone is AIOS's in the empty shell: it has no backend, and asks for nothing.",
    );
    Ok(table)
}

impl Trial {
    fn end(&self) -> Option<f64> {
        self.steps.get("painted").copied()
    }
}

fn trial(stage: &Stage, app: &Path, page: Option<&str>) -> Result<Trial> {
    let launch = stage.launch(app, page)?;
    let births = Births::watch(launch.id());
    let mut steps = stage.collector.steps()?;
    steps.extend(births.end());
    steps.values_mut().for_each(|at| *at -= launch.spawned_at);
    let pss = mib(launch.pss()?);
    launch.end()?;
    Ok(Trial { steps, pss })
}
