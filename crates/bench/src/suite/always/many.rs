//! What each of many sidecars costs: memory beside its own, the time to start all of them, and to stop them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{
    super::{
        Effort,
        build::Workspace,
        child,
        report::{Samples, Table},
    },
    keep::Keeper,
    kept::Kept,
};

/// One crowd of sidecars.
#[derive(Debug)]
struct Trial {
    /// PSS for each sidecar, in KiB: of the process that keeps it, and of its guard.
    keeper: f64,
    guard: Option<f64>,
    /// Milliseconds until all were there.
    announced: f64,
    ready: Option<f64>,
    /// Milliseconds until none was left.
    stopped: f64,
    killed: usize,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let program = workspace.fake_sidecar()?;
    let mut table = Table::new(["bare spawn loop", "Supervisor"]);
    for (count, rounds) in effort.crowds {
        // A machine that has no room for so many has room for those before.
        match crowd(*count, *rounds, &program) {
            Ok(trials) => rows(&mut table, *count, &trials),
            Err(reason) => table.note(format!("{count} sidecars: not run: {reason:#}")),
        }
    }
    table.note(
        "Memory beside the sidecar's own: the PSS of the process that keeps it and of its guard. The keepers share the pages of their \
         program with the benchmark, which halves what those count for. The bare loop spawns all, and then reads all announcements; \
         nobody asks for health there. The sidecars end at once when they are asked to.",
    );
    Ok(table)
}

/// Trials of the bare loop, and of the supervisor, by turns.
fn crowd(count: usize, rounds: usize, program: &Path) -> Result<[Vec<Trial>; 2]> {
    let mut trials = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (keeper, trials) in [Keeper::Bare, Keeper::Supervisor].into_iter().zip(&mut trials) {
            trials.push(trial(keeper, count, program)?);
        }
    }
    Ok(trials)
}

fn trial(keeper: Keeper, count: usize, program: &Path) -> Result<Trial> {
    let kept = Kept::start(keeper, count, program)?;
    let mut guards = Vec::new();
    for guard in kept.guards()? {
        guards.push(child::memory(guard)?.pss);
    }
    let guarded = keeper != Keeper::Bare;
    ensure!(guards.len() == if guarded { count } else { 0 }, "there are {} guards", guards.len());
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    let each = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
    let guard = guarded.then(|| each(guards.iter().sum()));
    let keeper = each(child::memory(kept.pid())?.pss);
    let (announced, ready) = (kept.up.announced * 1e3, kept.up.ready.map(|ready| ready * 1e3));
    let down = kept.end()?;
    Ok(Trial { keeper, guard, announced, ready, stopped: down.seconds * 1e3, killed: down.killed })
}

fn rows(table: &mut Table, count: usize, [bare, supervised]: &[Vec<Trial>; 2]) {
    let samples = |trials: &[Trial], value: &dyn Fn(&Trial) -> Option<f64>| -> Samples {
        trials.iter().filter_map(value).collect()
    };
    let sidecars = if count == 1 { "1 sidecar".to_owned() } else { format!("{count} sidecars") };
    let mut row = |what: &str, unit, value: &dyn Fn(&Trial) -> Option<f64>| {
        table.row(format!("{sidecars}: {what}"), unit, [samples(bare, value), samples(supervised, value)]);
    };
    row("memory for each", "KiB", &|trial| Some(trial.keeper + trial.guard.unwrap_or_default()));
    row("of that, its guard", "KiB", &|trial| trial.guard);
    row("start to all announced", "ms", &|trial| Some(trial.announced));
    row("start to all ready", "ms", &|trial| trial.ready);
    row("stop to all gone", "ms", &|trial| Some(trial.stopped));
    let killed: usize = supervised.iter().map(|trial| trial.killed).sum();
    if killed > 0 {
        table.note(format!(
            "{sidecars}: {killed} were reported as killed: their guards said nothing within the grace period."
        ));
    }
}
