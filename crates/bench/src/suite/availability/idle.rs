//! The resources that a supervisor uses while nothing happens.

use std::{thread, time::Duration};

use anyhow::{Context, Result};

use super::{
    super::{
        Effort,
        build::Workspace,
        report::{Samples, Table},
    },
    holder::Holder,
    holder_process::{HolderProcess, Usage, usage},
};

/// After this time the effects of the start are over, such as threads that look for more work.
const SETTLED: Duration = Duration::from_secs(2);
/// The number of sidecars whose probes share their wake-ups.
const MANY: usize = 100;

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let program = workspace.fake_sidecar()?;
    let holders =
        [(Holder::Bare, 1), (Holder::Supervisor, 1), (Holder::Supervisor, MANY), (Holder::Unprobed, 1)];
    let [bare, supervisor, many, unprobed] =
        holders.map(|(holder, count)| HolderProcess::start(holder, count, &program));
    let (bare, supervisor, many, unprobed) = (bare?, supervisor?, many?, unprobed?);
    let guard = *supervisor.guards()?.first().context("there is no guard")?;
    let pids = [bare.pid(), supervisor.pid(), many.pid(), unprobed.pid(), guard];

    // All at the same time: idle processes do not disturb each other.
    thread::sleep(SETTLED);
    let before = pids.map(usage);
    thread::sleep(Duration::from_secs(effort.idle));
    let after = pids.map(usage);
    let mut used = Vec::new();
    for (before, after) in before.into_iter().zip(after) {
        let (before, after) = (before?, after?);
        used.push(Usage {
            wakeups: after.wakeups - before.wakeups,
            cpu_nanos: after.cpu_nanos - before.cpu_nanos,
        });
    }
    for holder in [bare, supervisor, many, unprobed] {
        holder.end()?;
    }

    let mut table = Table::new([
        "bare spawn and wait",
        "Supervisor",
        "Supervisor, 100 sidecars",
        "Supervisor, liveness: None",
        "the guard",
    ]);
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    let per_minute = |value: u64| value as f64 * 60.0 / effort.idle as f64;
    let mut row = |what, unit, value: &dyn Fn(&Usage) -> f64| {
        let samples: Vec<Samples> = used.iter().map(|used| [value(used)].into_iter().collect()).collect();
        table.row(what, unit, samples);
    };
    row("wake-ups of all its threads", "1/min", &|used| per_minute(used.wakeups));
    row("CPU time", "ms/min", &|used| per_minute(used.cpu_nanos) / 1e6);
    table.note(format!(
        "Counted over {} s. The supervisor requests the sidecar's health every 10 s, the default.",
        effort.idle
    ));
    Ok(table)
}
