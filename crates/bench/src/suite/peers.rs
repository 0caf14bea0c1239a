//! Other programs that start and stop a program, in the same run: what they cost, and what they leave.

mod kind;
mod launched;

use std::{
    env,
    io::{self, Read as _},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kind::Peer;
use launched::Launched;
use rustix::process::Signal;

use super::{
    Effort,
    build::{PeerPrograms, Workspace},
    flood::{Reader, drain_at_once},
    report::{Samples, Table},
};

/// The sidecar listens, announces, and reads no stdin, as most servers. SIGTERM ends it at once.
const SERVER: &str = "listen ok announce park";
/// The same with three descendants: in its process group, in a group of their own, and a daemon.
const FAMILY: &str = "fork park ; new-group park ; daemon park ; listen ok announce park";
/// The number of processes of such a sidecar.
const MEMBERS: usize = 4;
/// How long the processes of a sidecar may take to end.
const TIME_TO_END: Duration = Duration::from_secs(3);

/// The measurements of one peer.
#[derive(Debug, Default)]
struct Measured {
    announced: Samples,
    stopped: Samples,
    memory: Samples,
    rate: Samples,
    left_after_stop: Samples,
    left_after_kill: Samples,
}

pub(crate) fn measure(workspace: &Workspace, effort: Effort) -> Result<Table> {
    let sidecar = workspace.fake_sidecar()?;
    let programs = workspace.peer_programs()?;
    let mut skipped = Vec::new();
    let mut peers = Vec::new();
    for peer in Peer::ALL {
        match peer.missing() {
            None => peers.push((peer, Measured::default())),
            Some(reason) => skipped.push(format!("Not run: {}: {reason}.", peer.title())),
        }
    }
    for _ in 0..effort.starts {
        for (peer, measured) in &mut peers {
            let launched = Launched::start(*peer, &programs, &sidecar, SERVER)?;
            measured.announced.push(launched.announced * 1e3);
            measured.memory.push(launched.memory_besides_sidecar()?);
            measured.stopped.push(launched.stop()? * 1e3);
        }
    }
    for _ in 0..effort.rounds {
        for (peer, measured) in &mut peers {
            if let Some(rate) = throughput(*peer, &programs, effort.flood)? {
                measured.rate.push(rate);
            }
            measured
                .left_after_stop
                .push(left(*peer, &programs, &sidecar, |launched| launched.stop().map(drop))?);
            measured.left_after_kill.push(left(*peer, &programs, &sidecar, Launched::kill)?);
        }
    }
    let mut table = Table::new(peers.iter().map(|(peer, _)| peer.title()));
    let mut row = |what: &str, unit, value: fn(&Measured) -> &Samples| {
        table.row(what, unit, peers.iter().map(|(_, measured)| value(measured).clone()).collect::<Vec<_>>());
    };
    row("start to announced", "ms", |it| &it.announced);
    row("stop to gone", "ms", |it| &it.stopped);
    row("PSS besides the app and the sidecar", "KiB", |it| &it.memory);
    row("output, lines of 100 bytes", "MB/s", |it| &it.rate);
    row("left after a stop, of 4", "processes", |it| &it.left_after_stop);
    row("left after SIGKILL of the supervisor, of 4", "processes", |it| &it.left_after_kill);
    table.note(format!(
        "The sidecar listens, announces and ignores its stdin; for the last two rows it has a child in its process group, one in a group of \
         its own, and a daemon. What lives {} s later is left. The supervisor is the process that called the library or is the program. \
         The bare spawn, tini and s6 leave the output to the reader; a library reads it in the process that called it.",
        TIME_TO_END.as_secs()
    ));
    skipped.into_iter().for_each(|reason| table.note(reason));
    Ok(table)
}

/// The number of processes of a sidecar that outlive `end`. They are killed afterwards.
#[expect(clippy::cast_precision_loss, reason = "a few processes")]
fn left(
    peer: Peer,
    programs: &PeerPrograms,
    sidecar: &Path,
    end: impl FnOnce(Launched) -> Result<()>,
) -> Result<f64> {
    let launched = Launched::start(peer, programs, sidecar, FAMILY)?;
    let family = launched.sidecars(MEMBERS)?;
    let ended = end(launched);
    let deadline = Instant::now() + TIME_TO_END;
    let left: Vec<_> = family.into_iter().filter(|process| !process.ends_before(deadline)).collect();
    // All of them, before the first error is returned.
    let killed: Vec<_> = left.iter().map(|process| process.signal(Signal::KILL)).collect();
    ended?;
    killed.into_iter().collect::<io::Result<()>>()?;
    Ok(left.len() as f64)
}

/// The megabytes per second that reach the reader, or `None` for a peer that changes the output.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
fn throughput(peer: Peer, programs: &PeerPrograms, bytes: u64) -> Result<Option<f64>> {
    let seconds = match peer {
        Peer::Bare => drain_at_once(Reader::Bare, bytes)?,
        Peer::Supervisor => drain_at_once(Reader::Supervisor, bytes)?,
        Peer::PillionRun => return Ok(None),
        Peer::ShellChild | Peer::ShellGroup => {
            // It reads some 5 MB in a second.
            let bytes = bytes / 50;
            let mut command = peer.shell_app(programs, "drain");
            command.arg(env::current_exe()?).args(["produce", "lines", &bytes.to_string()]);
            let output = command.stderr(Stdio::inherit()).output()?;
            ensure!(output.status.success(), "{} ended with {}", peer.title(), output.status);
            let seconds: f64 = serde_json::from_slice(&output.stdout)?;
            return Ok(Some(bytes as f64 / 1e6 / seconds));
        }
        Peer::Tini | Peer::S6 | Peer::SystemdRun => {
            let producer = env::current_exe()?;
            let begun = Instant::now();
            let mut launched =
                Launched::spawn(peer, programs, &producer, &["produce", "lines", &bytes.to_string()])?;
            let (mut buffer, mut left) = (vec![0; 64 * 1024], bytes);
            while left > 0 {
                let count = launched.stdout.read(&mut buffer)?;
                ensure!(count > 0, "{left} bytes did not arrive from {}", peer.title());
                left = left.saturating_sub(count as u64);
            }
            let seconds = begun.elapsed().as_secs_f64();
            launched.stop()?;
            seconds
        }
    };
    Ok(Some(bytes as f64 / 1e6 / seconds))
}
