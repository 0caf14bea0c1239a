//! A program under a peer.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use integration_tests::{LiveProcess, TestMarker};
use rustix::process::{Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{
        availability::{Down, StartTimes},
        build::PeerPrograms,
        child::{self, TIME_LIMIT},
        processes::kill_marked,
    },
    kind::Peer,
};

/// A peer and its program. Drop kills all of their processes, unless the peer has ended as it was asked to: what it leaves then is counted.
#[derive(Debug)]
pub(super) struct Launched {
    peer: Peer,
    process: Child,
    stdin: Option<ChildStdin>,
    pub(super) stdout: BufReader<ChildStdout>,
    marker: TestMarker,
    has_ended: bool,
    /// Seconds from before the start until the announcement was read: by the calling process for a library, otherwise by this one.
    pub(super) announced: f64,
    _folder: Option<TempDir>,
}

impl Launched {
    /// Starts a sidecar, and waits for its announcement.
    pub(super) fn start(peer: Peer, programs: &PeerPrograms, sidecar: &Path, steps: &str) -> Result<Self> {
        let steps: Vec<_> = steps.split(' ').collect();
        let begun = Instant::now();
        let mut launched = Self::spawn(peer, programs, sidecar, &steps)?;
        launched.announced = if peer.is_library() {
            launched.report::<StartTimes>()?.announced
        } else {
            while !announces(&launched.line()?) {}
            begun.elapsed().as_secs_f64()
        };
        Ok(launched)
    }

    /// Starts a program, and does not wait.
    pub(super) fn spawn(
        peer: Peer,
        programs: &PeerPrograms,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let marker = TestMarker::new()?;
        let (command, folder) = peer.command(programs, program, arguments, &marker)?;
        Self::run(peer, command, marker, folder)
    }

    fn run(peer: Peer, mut command: Command, marker: TestMarker, folder: Option<TempDir>) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the peer is the subject of the benchmark; it is killed on drop"
        )]
        let mut process = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().context("stdout was not piped")?);
        Ok(Self { peer, process, stdin, stdout, marker, has_ended: false, announced: 0.0, _folder: folder })
    }

    /// The processes of the sidecar, once there are `count`: its descendants start while it announces.
    pub(super) fn sidecars(&self, count: usize) -> Result<Vec<LiveProcess>> {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            let alive = self.marker.alive()?;
            let sidecars: Vec<_> = alive.into_iter().filter(|process| process.runs("fake-sidecar")).collect();
            if sidecars.len() == count {
                return Ok(sidecars);
            }
            ensure!(
                Instant::now() < deadline,
                "under {}, the sidecar has the processes {sidecars:?} instead of {count}",
                self.peer.title()
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The PSS in KiB of the processes that are neither the sidecar nor an app that calls a library.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    pub(super) fn memory_besides_sidecar(&self) -> Result<f64> {
        let app = self.peer.is_library().then(|| self.process.id());
        let mut bytes = 0;
        for process in self.marker.alive()? {
            if !process.runs("fake-sidecar") && Some(process.pid) != app {
                bytes += child::memory(process.pid)?.pss;
            }
        }
        Ok(bytes as f64 / 1024.0)
    }

    /// Stops the sidecar as the peer does, and returns the seconds until the peer has ended.
    pub(super) fn stop(mut self) -> Result<f64> {
        let asked = Instant::now();
        if self.peer.is_library() {
            drop(self.stdin.take());
            let down: Down = self.report()?;
            self.process.wait()?;
            self.has_ended = true;
            return Ok(down.seconds);
        }
        match self.peer.stop_command(&self.marker) {
            Some(mut command) => {
                let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
                ensure!(status.success(), "{command:?} ended with {status}");
            }
            None => kill_process(child::pid(self.process.id())?, Signal::TERM)?,
        }
        self.process.wait()?;
        self.has_ended = true;
        Ok(asked.elapsed().as_secs_f64())
    }

    /// Kills the supervising process alone.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        self.has_ended = true;
        Ok(())
    }

    fn report<T: DeserializeOwned>(&mut self) -> Result<T> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stdout.read_line(&mut line)? > 0, "{} ended too early", self.peer.title());
        Ok(line)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // First the peer, which could start its program again.
        let _ = self.process.kill();
        let _ = self.process.wait();
        kill_marked(&self.marker);
    }
}

/// Whether this line says where the sidecar listens: its own, or the event of `pillion run --json`.
fn announces(line: &str) -> bool {
    line.starts_with("BACKEND_PORT:")
        || serde_json::from_str::<Value>(line).is_ok_and(|event| event["port"].is_u64())
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// A peer that has started a program, and the two processes.
    fn launched() -> (Launched, Vec<LiveProcess>) {
        let marker = TestMarker::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]).env(TestMarker::VARIABLE, marker.value());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let launched = Launched::run(Peer::Tini, command, marker, None).unwrap();
        loop {
            let processes = launched.marker.alive().unwrap();
            if processes.len() == 2 {
                return (launched, processes);
            }
            thread::yield_now();
        }
    }

    #[test]
    fn an_error_leaves_no_process() {
        let (launched, processes) = launched();
        drop(launched);
        let deadline = Instant::now() + TIME_LIMIT;
        assert!(processes.iter().all(|process| process.ends_before(deadline)), "{processes:?}");
    }

    #[test]
    fn what_a_peer_leaves_can_be_counted() {
        let (launched, processes) = launched();
        launched.kill().unwrap();
        let left: Vec<_> = processes.iter().filter(|process| !process.ends_before(Instant::now())).collect();
        assert_eq!(left.len(), 1, "{left:?}");
        left[0].signal(Signal::KILL).unwrap();
    }
}
