//! Requests that are lost while a backend crashes repeatedly: with its own listener, and with a listener handover.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pillion::{Program, RestartLimit, Spec, Supervisor};

use super::{
    super::{
        Effort,
        backends::millis,
        build::Workspace,
        report::{Samples, Table},
    },
    clients::{CLIENTS, Clients, INTERVAL, RequestCounts},
    recovery::{crash, ready_again},
};

/// Answers before each crash, so that the crash hits a busy server.
const ANSWERS_BEFORE_CRASH: u32 = 64;

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let program = workspace.fake_sidecar()?;
    // Each crash is followed by an immediate restart, without a limit.
    let unlimited = RestartLimit::new(u32::MAX, Duration::ZERO);
    let spec = |program| Spec::run("fake-sidecar", program).restart_limit(unlimited);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let own = spec(Program::new(&program).args(["listen", "ok", "announce", "eof"]));
    let handed = spec(Program::new(&program).args(["inherit", "ok", "announce", "eof"]).handover(true));
    let trials =
        [runtime.block_on(trial(own, effort.crashes))?, runtime.block_on(trial(handed, effort.crashes))?];

    let mut table = Table::new(["its own listener", "listener handover"]);
    let mut row = |what: &str, value: fn(&RequestCounts) -> u32| {
        table.row(what, "number", trials.each_ref().map(|(tally, _)| one(value(tally).into())));
    };
    row("requests", |tally| tally.sent);
    row("repeated after a broken connection", |tally| tally.repeated);
    row("failed: refused", |tally| tally.refused);
    row("failed: cut off twice", |tally| tally.broken);
    row("failed", |tally| tally.refused + tally.broken);
    table.row("slowest answer", "ms", trials.each_ref().map(|(tally, _)| one(millis(tally.slowest))));
    table.row("SIGKILL to ready again, under this load", "ms", trials.map(|(_, again)| again));
    table.note(format!(
        "{} crashes each, every one after {ANSWERS_BEFORE_CRASH} more answers. {CLIENTS} clients know the current port. Each sends a GET every {} ms \
         on a new connection, and repeats it once if the connection broke before the answer was complete.",
        effort.crashes,
        INTERVAL.as_millis(),
    ));
    Ok(table)
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}

/// The results of the requests, and the time from each crash until ready again.
async fn trial(spec: Spec, crashes: usize) -> Result<(RequestCounts, Samples)> {
    let (sidecar, mut events) = Supervisor::start(spec);
    let mut endpoint = sidecar.ready().await?;
    let clients = Clients::start(endpoint.port.context("no port")?.get())?;
    let mut recovered = Samples::default();
    for _ in 0..crashes {
        clients.served(ANSWERS_BEFORE_CRASH).await?;
        let begun = Instant::now();
        crash(&endpoint)?;
        ready_again(&mut events, &endpoint).await?;
        recovered.push(millis(begun.elapsed()));
        endpoint = sidecar.ready().await?;
        clients.follow(endpoint.port.context("no port")?.get());
    }
    clients.served(ANSWERS_BEFORE_CRASH).await?;
    let tally = clients.finish()?;
    let _ = sidecar.stop().await;
    ensure!(tally.sent > 0, "the clients sent nothing");
    Ok((tally, recovered))
}
