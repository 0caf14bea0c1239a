//! A large output: the speed of reading it, the CPU time and the memory.
//!
//! Producer and reader are new processes of this program, so that the peak memory is that of the reader alone.

use std::{
    env, fs,
    io::{self, Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pillion::{LogFiles, Program, SidecarEvent, Spec, Supervisor};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::{
    Effort,
    backends::mib,
    build::Workspace,
    report::{Samples, Table},
};

/// The capacity of a pipe on Linux (pipe(7)). The producer writes, and the bare loop reads, as much at once.
const CHUNK: usize = 64 * 1024;
const LINE: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// Lines of [`LINE`] bytes, the newline included.
    Lines,
    /// No newline.
    Endless,
}

/// Who reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Reader {
    /// Reads into a buffer, and discards it.
    Bare,
    /// The supervisor without a subscriber.
    Supervisor,
    /// The supervisor with one subscriber that counts the lines.
    Subscriber,
    /// The supervisor without a subscriber, which writes log files.
    Files,
}

/// Writes a large output to stdout.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    shape: Shape,
    bytes: u64,
    /// Lines per second, each written alone, as a server writes its log [default: as fast as possible].
    #[arg(long)]
    rate: Option<u32>,
}

/// Reads a large output, and reports its cost on stdout.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    reader: Reader,
    shape: Shape,
    bytes: u64,
    #[arg(long)]
    rate: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Drained {
    seconds: f64,
    /// The CPU time of the reading process from before the spawn to the end, user and system.
    pub(super) cpu_seconds: f64,
    /// The peak resident memory of the reading process, in bytes.
    peak: u64,
    /// The lines that the subscriber received, and the events that it missed.
    lines: u64,
    missed: u64,
}

pub(crate) fn measure(_: &Workspace, effort: Effort) -> Result<Table> {
    let mut table = Table::new([
        "bare read loop",
        "Supervisor, no subscriber",
        "Supervisor, one subscriber",
        "Supervisor, log files",
    ]);
    for shape in Shape::value_variants() {
        let mut drained = [const { Vec::new() }; 4];
        for _ in 0..effort.rounds {
            for (reader, drained) in Reader::value_variants().iter().zip(&mut drained) {
                drained.push(drain(*reader, *shape, effort.flood, None)?);
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
                "{megabytes} MB in each round. In {} rounds the subscriber received {lines} lines and missed {missed} batches.",
                effort.rounds
            ));
        }
    }
    Ok(table)
}

/// The cost of a number of lines, written at `rate` lines per second.
pub(super) fn drain_lines(reader: Reader, lines: u64, rate: u32) -> Result<Drained> {
    drain(reader, Shape::Lines, lines * LINE as u64, Some(rate))
}

/// The seconds that a reader takes for lines that are written as fast as possible.
pub(super) fn drain_at_once(reader: Reader, bytes: u64) -> Result<f64> {
    Ok(drain(reader, Shape::Lines, bytes, None)?.seconds)
}

/// Runs a reader in its own process.
fn drain(reader: Reader, shape: Shape, bytes: u64, rate: Option<u32>) -> Result<Drained> {
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|value| value.get_name().to_owned()).context("a value without a name")
    };
    let mut command = Command::new(env::current_exe()?);
    command.arg("drain").arg(name(&|| reader.to_possible_value())?).arg(name(&|| shape.to_possible_value())?);
    command.arg(bytes.to_string()).args(rate.map(|rate| format!("--rate={rate}")));
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "a reader ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Produce {
    pub(crate) fn run(self) -> Result<()> {
        match self.rate {
            Some(rate) => self.at_rate(f64::from(rate)),
            None => self.at_once(),
        }
    }

    /// Writes each line when it is due, and those that are due together one after another.
    fn at_rate(&self, rate: f64) -> Result<()> {
        let mut line = [b'x'; LINE];
        line[LINE - 1] = b'\n';
        let begun = Instant::now();
        let mut out = io::stdout().lock();
        for number in 0..self.bytes / LINE as u64 {
            #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 lines")]
            let due = Duration::from_secs_f64(number as f64 / rate);
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                thread::sleep(early);
            }
            // `Stdout` passes a line on at its newline, with one call of write(2).
            out.write_all(&line)?;
        }
        Ok(())
    }

    fn at_once(&self) -> Result<()> {
        // 64 KiB is not a multiple of 100: some lines span two chunks, as in practice.
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
            // The buffer of `Stdout` would hold back the bytes after the last newline.
            out.write_all(&chunk[..count])?;
            left -= count as u64;
        }
        Ok(out.flush()?)
    }
}

impl Drain {
    pub(crate) fn run(self) -> Result<()> {
        let shape = self.shape.to_possible_value().context("a shape without a name")?;
        let mut arguments = vec!["produce".to_owned(), shape.get_name().to_owned(), self.bytes.to_string()];
        arguments.extend(self.rate.map(|rate| format!("--rate={rate}")));
        let (begun, used) = (Instant::now(), cpu_seconds());
        let (lines, missed) = match self.reader {
            Reader::Bare => bare(&arguments, self.bytes)?,
            Reader::Supervisor => supervised(&arguments, false, None)?,
            Reader::Subscriber => supervised(&arguments, true, None)?,
            Reader::Files => {
                let folder = tempfile::tempdir()?;
                supervised(&arguments, false, Some(LogFiles::new(folder.path())))?
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        let drained = Drained { seconds, cpu_seconds: cpu_seconds() - used, peak: peak()?, lines, missed };
        Ok(serde_json::to_writer(io::stdout(), &drained)?)
    }
}

fn bare(arguments: &[String], bytes: u64) -> Result<(u64, u64)> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    #[expect(
        clippy::disallowed_methods,
        reason = "a spawn without a supervisor is the baseline; it ends with the pipe"
    )]
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
    ensure!(read == bytes, "{read} bytes arrived");
    Ok((0, 0))
}

fn supervised(arguments: &[String], subscribe: bool, files: Option<LogFiles>) -> Result<(u64, u64)> {
    // The producer never announces a port. Its output must end before the start expires.
    let spec = Spec::run("flood", Program::new(env::current_exe()?).args(arguments))
        .ready_timeout(Duration::from_secs(3600));
    let spec = files.into_iter().fold(spec, Spec::log_files);
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
        let end = flood.ready().await.err().context("a producer without an announcement became ready")?;
        ensure!(end.detail.exit.is_some_and(pillion::Exit::is_success), "{end}");
        // Returns once the last line is in its file.
        let _ = flood.stop().await;
        // The events end with the last handle.
        drop(flood);
        Ok(match counter {
            Some(counter) => counter.await?,
            None => (0, 0),
        })
    })
}

/// The peak resident memory of this process (`proc_pid_status(5)`). `ru_maxrss` would include that of the parent.
fn peak() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().strip_suffix(" kB").context("VmHWM is not in kB")?.parse::<u64>()? * 1024)
}

/// The CPU time of all threads of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
