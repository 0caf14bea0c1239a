//! Requests that are lost while a backend crashes again and again: with a listener of its own, and with one that the
//! supervisor hands over.

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
    clients::{CLIENTS, Clients, PACE, Tally},
    recovery::{crash, ready_again},
};

/// What is served before each crash, so that it comes upon a server at work.
const SERVED: u32 = 64;

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let program = workspace.fake_sidecar()?;
    // Each crash is mended at once, however many there were.
    let patient = RestartLimit::new(u32::MAX, Duration::ZERO);
    let spec = |program| Spec::run("fake-sidecar", program).restart_limit(patient);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let own = spec(Program::new(&program).args(["listen", "ok", "announce", "eof"]));
    let handed = spec(Program::new(&program).args(["inherit", "ok", "announce", "eof"]).handover(true));
    let trials =
        [runtime.block_on(trial(own, effort.crashes))?, runtime.block_on(trial(handed, effort.crashes))?];

    let mut table = Table::new(["a listener of its own", "handed over"]);
    let mut row = |what: &str, value: fn(&Tally) -> u32| {
        table.row(what, "number", trials.each_ref().map(|(tally, _)| one(value(tally).into())));
    };
    row("requests", |tally| tally.sent);
    row("sent again, their connection being broken", |tally| tally.again);
    row("failed: refused", |tally| tally.refused);
    row("failed: broken off twice", |tally| tally.broken);
    row("failed", |tally| tally.refused + tally.broken);
    table.row("slowest answer", "ms", trials.each_ref().map(|(tally, _)| one(millis(tally.slowest))));
    table.row("SIGKILL to ready again, under this load", "ms", trials.map(|(_, again)| again));
    table.note(format!(
        "{} crashes each, every one after {SERVED} more answers. {CLIENTS} clients that know the newest port; each sends a GET \
         every {} ms over a new connection, and sends it once more where the connection broke before the answer was whole.",
        effort.crashes,
        PACE.as_millis(),
    ));
    Ok(table)
}

fn one(value: f64) -> Samples {
    [value].into_iter().collect()
}

/// What became of the requests, and how long each crash took to mend.
async fn trial(spec: Spec, crashes: usize) -> Result<(Tally, Samples)> {
    let (sidecar, mut events) = Supervisor::start(spec);
    let mut endpoint = sidecar.ready().await?;
    let clients = Clients::start(endpoint.port.context("it listens on a port")?.get())?;
    let mut mended = Samples::default();
    for _ in 0..crashes {
        clients.served(SERVED).await?;
        let begun = Instant::now();
        crash(&endpoint)?;
        ready_again(&mut events, &endpoint).await?;
        mended.push(millis(begun.elapsed()));
        endpoint = sidecar.ready().await?;
        clients.follow(endpoint.port.context("it listens on a port")?.get());
    }
    clients.served(SERVED).await?;
    let tally = clients.finish()?;
    let _ = sidecar.stop().await;
    ensure!(tally.sent > 0, "the clients sent nothing");
    Ok((tally, mended))
}
