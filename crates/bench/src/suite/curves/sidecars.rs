//! The cost of each of many sidecars: memory besides its own, the time to start all of them, and the time to stop them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::super::{
    Effort,
    availability::{Holder, HolderProcess},
    build::Workspace,
    child,
    picture::{Axis, Curve, Picture},
    report::{Samples, Table},
};

/// One start and stop of a number of sidecars.
#[derive(Debug)]
struct FleetTrial {
    /// PSS for each sidecar in KiB: of the process that holds it, and of its guard.
    holder: f64,
    guard: Option<f64>,
    /// Milliseconds until all were up.
    announced: f64,
    ready: Option<f64>,
    /// Milliseconds until all had ended.
    stopped: f64,
    killed: usize,
}

/// The trials of the bare loop and of the supervisor, for one number of sidecars.
type Crowd = [Vec<FleetTrial>; 2];

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let program = workspace.fake_sidecar()?;
    let mut table = Table::new(["bare spawn loop", "Supervisor"]);
    let mut crowds = Vec::new();
    for (count, rounds) in effort.crowds {
        // A machine without room for this number still has room for the smaller ones.
        match crowd(*count, *rounds, &program) {
            Ok(trials) => {
                rows(&mut table, *count, &trials);
                crowds.push((*count, trials));
            }
            Err(reason) => table.note(format!("{count} sidecars: not run: {reason:#}")),
        }
    }
    pictures(&mut table, &crowds);
    table.note(
        "Memory besides the sidecar's own: the PSS of the process that holds it and of its guard. The holders share the pages of their \
         program with the benchmark, which halves the share of these pages. The bare loop spawns all, then reads all announcements, \
         and requests no health. The sidecars end at once on request.",
    );
    Ok(table)
}

impl FleetTrial {
    fn memory(&self) -> f64 {
        self.holder + self.guard.unwrap_or_default()
    }
}

/// Trials of the bare loop and of the supervisor, in turn.
fn crowd(count: usize, rounds: usize, program: &Path) -> Result<Crowd> {
    let mut trials = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (holder, trials) in [Holder::Bare, Holder::Supervisor].into_iter().zip(&mut trials) {
            trials.push(trial(holder, count, program)?);
        }
    }
    Ok(trials)
}

fn trial(holder: Holder, count: usize, program: &Path) -> Result<FleetTrial> {
    let held = HolderProcess::start(holder, count, program)?;
    let mut guards = Vec::new();
    for guard in held.guards()? {
        guards.push(child::memory(guard)?.pss);
    }
    let guarded = holder != Holder::Bare;
    ensure!(guards.len() == if guarded { count } else { 0 }, "there are {} guards", guards.len());
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let each = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
    let guard = guarded.then(|| each(guards.iter().sum()));
    let holder = each(child::memory(held.pid())?.pss);
    let (announced, ready) = (held.up.announced * 1e3, held.up.ready.map(|ready| ready * 1e3));
    let down = held.end()?;
    Ok(FleetTrial { holder, guard, announced, ready, stopped: down.seconds * 1e3, killed: down.killed })
}

fn rows(table: &mut Table, count: usize, [bare, supervised]: &Crowd) {
    let sidecars = if count == 1 { "1 sidecar".to_owned() } else { format!("{count} sidecars") };
    let mut row = |what: &str, unit, value: &dyn Fn(&FleetTrial) -> Option<f64>| {
        table.row(format!("{sidecars}: {what}"), unit, [samples(bare, value), samples(supervised, value)]);
    };
    row("memory for each", "KiB", &|trial| Some(trial.memory()));
    row("of that, its guard", "KiB", &|trial| trial.guard);
    row("start to all announced", "ms", &|trial| Some(trial.announced));
    row("start to all ready", "ms", &|trial| trial.ready);
    row("stop to all gone", "ms", &|trial| Some(trial.stopped));
    let killed: usize = supervised.iter().map(|trial| trial.killed).sum();
    if killed > 0 {
        table.note(format!(
            "{sidecars}: {killed} were reported as killed, because their guards did not report within the grace period."
        ));
    }
}

fn samples(trials: &[FleetTrial], value: &dyn Fn(&FleetTrial) -> Option<f64>) -> Samples {
    trials.iter().filter_map(value).collect()
}

fn pictures(table: &mut Table, crowds: &[(usize, Crowd)]) {
    const BARE: usize = 0;
    const OURS: usize = 1;
    let curve = |name, whose: usize, value: &dyn Fn(&FleetTrial) -> Option<f64>| {
        #[expect(clippy::cast_precision_loss, reason = "a thousand sidecars")]
        let points = crowds.iter().map(|(count, crowd)| (*count as f64, samples(&crowd[whose], value)));
        Curve { name, points: points.collect() }
    };
    let x = Axis { title: "sidecars" };
    let time = |title| Axis { title };
    table.picture(Picture {
        file: "sidecars-start",
        title: "Start of many sidecars at once",
        x,
        y: time("from the first start, ms"),
        curves: vec![
            curve("bare spawn loop, all announced", BARE, &|trial| Some(trial.announced)),
            curve("Supervisor, all announced", OURS, &|trial| Some(trial.announced)),
            curve("Supervisor, all ready", OURS, &|trial| trial.ready),
        ],
    });
    table.picture(Picture {
        file: "sidecars-stop",
        title: "Stop of many sidecars at once",
        x,
        y: time("until all are gone, ms"),
        curves: vec![
            curve("bare loop", BARE, &|trial| Some(trial.stopped)),
            curve("Supervisor", OURS, &|trial| Some(trial.stopped)),
        ],
    });
    table.picture(Picture {
        file: "sidecars-memory",
        title: "Memory besides that of each sidecar",
        x,
        y: Axis { title: "PSS for each sidecar, KiB" },
        curves: vec![
            curve("bare loop", BARE, &|trial| Some(trial.memory())),
            curve("Supervisor and guards", OURS, &|trial| Some(trial.memory())),
            curve("of that, the guard", OURS, &|trial| trial.guard),
        ],
    });
}
