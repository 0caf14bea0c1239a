//! The cost of supervision for a start and a stop of the same backend.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::{LiveProcess, TestMarker};
use pillion::{Program, SidecarEvent, Spec, State, StopOutcome, Supervisor};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{
    Effort,
    backends::{mib, millis},
    build::{BuiltPrograms, Workspace},
    child::{self, Backend},
    report::{Samples, Table},
};

/// One start and one stop. Each time counts from the request.
#[derive(Debug)]
struct StartTrial {
    announced: Duration,
    ready: Duration,
    stopped: Duration,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let BuiltPrograms { backend, pillion } = workspace.programs()?;
    // As in an app: one runtime, started before.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut trials = [const { Vec::new() }; 3];
    let mut guards = Samples::default();
    for _ in 0..effort.starts {
        trials[0].push(bare(&backend)?);
        let (trial, guard) = supervised(&runtime, &backend)?;
        trials[1].push(trial);
        guards.push(guard);
        trials[2].push(in_terminal(&pillion, &backend)?.0);
    }
    let rss =
        (0..effort.rounds).map(|_| Ok(in_terminal(&pillion, &backend)?.1)).collect::<Result<Samples>>()?;

    let mut table = Table::new(["bare spawn and read", "pillion::Supervisor", "pillion run"]);
    let mut row = |what: &str, value: fn(&StartTrial) -> Duration| {
        let samples: Vec<Samples> =
            trials.iter().map(|trials| trials.iter().map(|trial| millis(value(trial))).collect()).collect();
        table.row(what, "ms", samples);
    };
    row("start to announced", |trial| trial.announced);
    row("start to healthy", |trial| trial.ready);
    row("stop to gone", |trial| trial.stopped);
    let [bare, guarded, _] = &trials;
    let more = bare
        .iter()
        .zip(guarded)
        .map(|(bare, guarded)| millis(guarded.announced) - millis(bare.announced))
        .collect();
    table.row("start to announced, more than bare", "ms", [Samples::default(), more, Samples::default()]);
    table.row("PSS of the guard", "MiB", [Samples::default(), guards, Samples::default()]);
    table.row("RSS of the supervising process", "MiB", [Samples::default(), Samples::default(), rss]);
    table.note(
        "The bare spawn reads one line, requests /health once, and on a stop waits for one process. \
         The time of the supervisor starts with the call, and that of `pillion run --json` with its own spawn. The difference \
         between supervisor and bare spawn is the cost of the supervisor and its guard.",
    );
    Ok(table)
}

fn bare(program: &Path) -> Result<StartTrial> {
    let backend = Backend::start(Command::new(program))?;
    Ok(StartTrial { announced: backend.announced, ready: backend.until_healthy()?, stopped: backend.stop()? })
}

/// A start and stop with supervisor and guard, and the memory of the guard in MiB when the backend is ready.
fn supervised(runtime: &Runtime, program: &Path) -> Result<(StartTrial, f64)> {
    let marker = TestMarker::new()?;
    runtime.block_on(async {
        let spec = Spec::run("backend", Program::new(program).env(TestMarker::VARIABLE, marker.value()));
        let begun = Instant::now();
        let (backend, mut events) = Supervisor::start(spec);
        let mut announced = None;
        let ready = loop {
            match events.next().await {
                Some(SidecarEvent::Status(status)) => match status.state {
                    State::Ready => break begun.elapsed(),
                    State::Starting if status.port.is_some() => {
                        announced = announced.or(Some(begun.elapsed()));
                    }
                    State::Waiting | State::Starting => {}
                    _ => {
                        bail!("not ready: {:?}", status.reason)
                    }
                },
                Some(_) => {}
                None => bail!("the supervisor ended before the backend was ready"),
            }
        };
        let announced = announced.context("ready without an announcement")?;
        let guard = marker.alive()?.into_iter().find(LiveProcess::is_guard).context("there is no guard")?;
        let held = mib(child::memory(guard.pid)?.pss);
        let requested = Instant::now();
        let outcome = backend.stop().await;
        ensure!(matches!(outcome, StopOutcome::Graceful(_)), "the stop was not graceful: {outcome:?}");
        Ok((StartTrial { announced, ready, stopped: requested.elapsed() }, held))
    })
}

/// A start and stop with `pillion run`, and its resident memory in MiB when the backend is ready.
fn in_terminal(pillion: &Path, program: &Path) -> Result<(StartTrial, f64)> {
    let begun = Instant::now();
    let mut command = Command::new(pillion);
    command.args(["run", "--json", "--"]).arg(program).stdin(Stdio::null()).stdout(Stdio::piped());
    #[expect(
        clippy::disallowed_methods,
        reason = "the command is the subject of the benchmark; it ends below, or on drop"
    )]
    let mut running = PillionRun(command.spawn()?);
    let stdout = running.0.stdout.take().context("stdout was not piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut until = |reached: fn(&Value) -> bool| {
        for line in lines.by_ref() {
            if reached(&serde_json::from_str(&line?)?) {
                return Ok(begun.elapsed());
            }
        }
        bail!("pillion run ended before the backend was ready")
    };
    let announced = until(|event| event["port"].is_u64())?;
    let ready = until(|event| event["state"] == "ready")?;
    let rss = mib(child::memory(running.0.id())?.rss);
    let requested = Instant::now();
    kill_process(child::pid(running.0.id())?, Signal::TERM)?;
    let status = running.0.wait()?;
    ensure!(status.success(), "pillion run ended with {status}");
    Ok((StartTrial { announced, ready, stopped: requested.elapsed() }, rss))
}

/// A running `pillion run`. Drop kills it, and its backend ends with its stdin.
struct PillionRun(Child);

impl Drop for PillionRun {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
