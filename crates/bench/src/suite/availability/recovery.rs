//! The time until a killed backend is ready again, and its cold start under the same supervisor.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pillion::{Endpoint, Events, Program, SidecarEvent, Spec, State, Supervisor};
use rustix::process::{Signal, kill_process};
use tokio::time::timeout;

use super::super::{
    Effort,
    backends::millis,
    build::Workspace,
    child::{self, TIME_LIMIT},
    report::{Samples, Table},
};

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let fake = workspace.fake_sidecar()?;
    let steps = |listen| Program::new(&fake).args([listen, "ok", "announce", "eof"]);
    let mut subjects = vec![
        ("the least sidecar", Spec::run("fake-sidecar", steps("listen"))),
        (
            "the least sidecar, with a listener handover",
            Spec::run("fake-sidecar", steps("inherit").handover(true)),
        ),
        ("the Rust backend", Spec::run("backend", workspace.programs()?.backend)),
    ];
    let mut table = Table::new(["cold start", "SIGKILL to ready again"]);
    match workspace.hono() {
        Ok(hono) => subjects.push(("the Hono backend on Node", from_command(&hono.command()))),
        Err(reason) => table.note(format!("The Hono backend: not run: {reason:#}")),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for (what, spec) in subjects {
        let mut samples = [Samples::default(), Samples::default()];
        for _ in 0..effort.starts {
            let [cold, again] = runtime.block_on(trial(spec.clone()))?;
            samples[0].push(millis(cold));
            samples[1].push(millis(again));
        }
        table.row(what, "ms", samples);
    }
    table.note(
        "Both end with the first healthy answer. After a first crash the restart is immediate. A start and a restart include a guard.",
    );
    Ok(table)
}

fn from_command(command: &Command) -> Spec {
    Spec::run("hono", Program::new(command.get_program()).args(command.get_args()))
}

/// The time of a start, and the time from a crash until ready again.
async fn trial(spec: Spec) -> Result<[Duration; 2]> {
    let begun = Instant::now();
    let (sidecar, mut events) = Supervisor::start(spec);
    let endpoint = sidecar.ready().await?;
    let cold = begun.elapsed();
    let killed = Instant::now();
    crash(&endpoint)?;
    ready_again(&mut events, &endpoint).await?;
    let again = killed.elapsed();
    let _ = sidecar.stop().await;
    Ok([cold, again])
}

/// Kills the sidecar's leader.
pub(super) fn crash(endpoint: &Endpoint) -> Result<()> {
    Ok(kill_process(child::pid(endpoint.pid.context("no process")?)?, Signal::KILL)?)
}

/// Waits until a process other than that of `before` is ready.
pub(super) async fn ready_again(events: &mut Events, before: &Endpoint) -> Result<()> {
    let ready = async {
        while let Some(event) = events.next().await {
            if let SidecarEvent::Status(status) = event
                && status.state == State::Ready
                && status.pid != before.pid
            {
                return Ok(());
            }
        }
        anyhow::bail!("the supervisor ended")
    };
    timeout(TIME_LIMIT, ready).await.context("the sidecar did not become ready again")?
}
