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

/// The size and depth of the virtual screen.
pub(super) const SCREEN: &str = "1280x800x24";

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
            display: Xvfb::start(SCREEN)?,
            home: tempfile::tempdir()?,
        })
    }

    /// Starts an app with an argument: for the empty shell the page that it shows, for `routes` the number of its windows.
    pub(crate) fn launch(&self, app: &Path, argument: Option<&str>) -> Result<LaunchedApp> {
        let mut command = Command::new(app);
        command.args(argument).env("DISPLAY", self.display.name()).env("GDK_BACKEND", "x11");
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

/// The first picture of a page, as the Paint Timing API calls it.
const PICTURE: &str = "first-contentful-paint";

/// The steps in their usual order, by their names in apps/desktop/src/bench.ts, or as the kernel names a program.
const STEPS: [(&str, &str); 17] = [
    ("backend began", "the backend's main"),
    ("WebKitNetworkPr", "webview's network process"),
    ("WebKitWebProces", "webview's page process"),
    ("navigation", "navigation"),
    ("html there", "HTML there"),
    ("html parsed", "HTML parsed"),
    (PICTURE, "first picture"),
    ("begun", "first line of AIOS's own code"),
    ("token asked", "token asked"),
    ("status there", "status there"),
    ("connected", "connected"),
    ("token there", "token there"),
    ("health asked", "health asked"),
    ("backend answered", "backend answered"),
    ("health there", "health there"),
    ("painted", "painted"),
    ("mounted", "mounted"),
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
    let gap = |(later, end): (usize, &str), (earlier, begin): (usize, &str)| -> Samples {
        let of = |round: &Vec<Trial>| Some(round[later].steps.get(end)? - round[earlier].steps.get(begin)?);
        rounds.iter().filter_map(of).collect()
    };
    let (none, pictures) = (Samples::default, [1, 2].map(|later| gap((later, PICTURE), (0, PICTURE))));
    let [alone, aios] = pictures;
    table.row("first picture after the empty shell's", "ms", [none(), alone, aios]);
    table.row(
        "connected after the first picture of the page alone",
        "ms",
        [none(), none(), gap((2, "connected"), (1, PICTURE))],
    );
    table.note(
        "Under Xvfb, by the page's own clock, that of the bench (processes, looked for each millisecond) and that of the backend. \
         Mounted: the script of the empty page, and the first React commit of AIOS's page. Painted: a task after the frame that follows \
         being connected, and in the other two being mounted. The memory is that after the last step. The page alone is AIOS's in the \
         empty shell: it has no backend, and asks for nothing.",
    );
    Ok(table)
}

fn trial(stage: &Stage, app: &Path, page: Option<&str>) -> Result<Trial> {
    let mut launch = stage.launch(app, page)?;
    let births = Births::watch(launch.id());
    let mut steps = stage.collector.steps(&mut launch)?;
    steps.extend(births.end());
    steps.values_mut().for_each(|at| *at -= launch.spawned_at);
    let pss = mib(launch.pss()?);
    launch.end()?;
    Ok(Trial { steps, pss })
}
