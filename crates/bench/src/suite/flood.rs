//! A flood of output: how fast it is drained, at what cost, and in how much memory.
//!
//! Producer and reader are fresh processes of this very program, so that the reader's peak is nobody else's.

use std::{
    env, fs,
    io::{self, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pillion::{Program, SidecarEvent, Spec, Supervisor};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    Effort,
    backends::mib,
    build::Workspace,
    report::{Samples, Table},
};

/// As much as a pipe holds on Linux (pipe(7)): what the producer writes and the bare loop reads at once.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// Lines of 100 bytes, the newline included.
    Lines,
    /// Not a single newline.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reader {
    /// Reads into a buffer, and forgets it.
    Bare,
    /// The supervisor, with nobody who listens to the output.
    Supervisor,
    /// The supervisor, with one subscriber that counts the lines.
    Subscriber,
}

/// Writes a flood on stdout.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    shape: Shape,
    bytes: u64,
}

/// Drains a flood, and says on stdout what that took.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    reader: Reader,
    shape: Shape,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Drained {
    seconds: f64,
    /// Of the reading process, user and system together.
    cpu_seconds: f64,
    /// The reading process's highest resident memory, in bytes.
    peak: u64,
    /// Lines that the subscriber saw, and events that it was too slow for.
    lines: u64,
    missed: u64,
}

pub(crate) fn measure(_: &Workspace, effort: Effort) -> Result<Table> {
    let mut table = Table::new(["bare read loop", "Supervisor, no subscriber", "Supervisor, one subscriber"]);
    for shape in Shape::value_variants() {
        let mut drained = [const { Vec::new() }; 3];
        for _ in 0..effort.rounds {
            for (reader, drained) in Reader::value_variants().iter().zip(&mut drained) {
                drained.push(drain(*reader, *shape, effort.flood)?);
            }
        }
        let what = match shape {
            Shape::Lines => "lines of 100 bytes",
            Shape::Endless => "no newline",
        };
        let mut row = |value: &str, unit, sample: &dyn Fn(&Drained) -> f64| {
            let samples: Vec<Samples> =
                drained.iter().map(|trials| trials.iter().map(sample).collect()).collect();
            table.row(format!("{what}: {value}"), unit, samples);
        };
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
        let megabytes = effort.flood as f64 / 1e6;
        row("time", "s", &|drained| drained.seconds);
        row("rate", "MB/s", &|drained| megabytes / drained.seconds);
        row("reader's CPU time", "s", &|drained| drained.cpu_seconds);
        row("reader's peak RSS", "MiB", &|drained| mib(drained.peak));
        if *shape == Shape::Lines {
            let sums = |value: fn(&Drained) -> u64| drained[2].iter().map(value).sum::<u64>();
            let (lines, missed) = (sums(|drained| drained.lines), sums(|drained| drained.missed));
            table.note(format!(
                "{megabytes} MB in each round. In {} rounds the subscriber was given {lines} lines, and told that it \
                 had missed {missed} batches.",
                effort.rounds
            ));
        }
    }
    Ok(table)
}

/// Runs a reader as a process of its own.
fn drain(reader: Reader, shape: Shape, bytes: u64) -> Result<Drained> {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|value| value.get_name().to_owned()).context("a value without a name")
    };
    let mut command = Command::new(env::current_exe()?);
    command.arg("drain").arg(name(&|| reader.to_possible_value())?).arg(name(&|| shape.to_possible_value())?);
    let output = command.arg(bytes.to_string()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "a reader ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Produce {
    pub(crate) fn run(self) -> Result<()> {
        // 64 KiB is not a multiple of 100: a line then lies across two chunks, as it would in life.
        let mut text = vec![b'x'; CHUNK * 100];
        if self.shape == Shape::Lines {
            text.iter_mut().skip(99).step_by(100).for_each(|byte| *byte = b'\n');
        }
        let mut left = self.bytes;
        let mut out = io::stdout().lock();
        for chunk in text.chunks(CHUNK).cycle() {
            let count = usize::try_from(left).map_or(chunk.len(), |left| chunk.len().min(left));
            if count == 0 {
                break;
            }
            // `Stdout` would hold back what follows the last newline.
            out.write_all(&chunk[..count])?;
            left -= count as u64;
        }
        Ok(out.flush()?)
    }
}

impl Drain {
    pub(crate) fn run(self) -> Result<()> {
        let shape = self.shape.to_possible_value().context("a shape without a name")?;
        let arguments = ["produce".to_owned(), shape.get_name().to_owned(), self.bytes.to_string()];
        let begun = Instant::now();
        let (lines, missed) = match self.reader {
            Reader::Bare => bare(&arguments, self.bytes)?,
            Reader::Supervisor => supervised(&arguments, false)?,
            Reader::Subscriber => supervised(&arguments, true)?,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let drained = Drained { seconds, cpu_seconds: cpu_seconds(), peak: peak()?, lines, missed };
        Ok(serde_json::to_writer(io::stdout(), &drained)?)
    }
}

fn bare(arguments: &[String], bytes: u64) -> Result<(u64, u64)> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    #[expect(clippy::disallowed_methods, reason = "a bare spawn is what is measured; it ends with the pipe")]
    let mut child = command.spawn()?;
    let mut stdout = child.stdout.take().context("stdout was not piped")?;
    let mut buffer = vec![0; CHUNK];
    let mut read = 0;
    loop {
        match stdout.read(&mut buffer)? {
            0 => break,
            count => read += count as u64,
        }
    }
    child.wait()?;
    ensure!(read == bytes, "{read} bytes came");
    Ok((0, 0))
}

fn supervised(arguments: &[String], subscribe: bool) -> Result<(u64, u64)> {
    // It never announces, and ends by itself: the flood must be over before it is taken for stuck.
    let spec = Spec::run("flood", Program::new(env::current_exe()?).args(arguments))
        .ready_timeout(Duration::from_secs(3600));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (flood, mut events) = Supervisor::start(spec);
        let counter = if subscribe {
            Some(tokio::spawn(async move {
                let (mut lines, mut missed) = (0, 0);
                while let Some(event) = events.next().await {
                    match event {
                        SidecarEvent::Output(batch) => lines += batch.len() as u64,
                        SidecarEvent::Missed(count) => missed += count,
                        _ => {}
                    }
                }
                (lines, missed)
            }))
        } else {
            drop(events);
            None
        };
        let end = flood.ready().await.err().context("a flood that never announced was taken for ready")?;
        ensure!(end.detail.exit.is_some_and(pillion::Exit::is_success), "{end}");
        // The events end when nobody can start it again.
        drop(flood);
        Ok(match counter {
            Some(counter) => counter.await?,
            None => (0, 0),
        })
    })
}

/// Our highest resident memory (`proc_pid_status(5)`). Not `ru_maxrss`, which starts with that of whoever started us.
fn peak() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().strip_suffix(" kB").context("VmHWM is not in kB")?.parse::<u64>()? * 1024)
}

/// The CPU time that all our threads have used.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
