//! Rounds side by side, and what is shown of them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to a person")]

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    num::NonZeroUsize,
    ops::Range,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
    thread,
};

use clap::Parser;
use integration_tests::orphans::{Programs, Scenario};
use tokio::task::JoinSet;

use crate::{choice, tally::Tally};

/// Let apps die, and look for survivors.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask soak orphans")]
struct Arguments {
    /// How many deaths.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// What the choices are made from; a new one each time by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Only the round of this number, to repeat one that failed.
    #[arg(long, value_name = "NUMBER", requires = "seed", conflicts_with = "rounds")]
    round: Option<u64>,
    /// How many rounds run side by side; four for each core by default, since most of a round is waiting.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Measure an app that does without pillion. Its survivors are counted, and no failure.
    #[arg(long)]
    rival: bool,
}

impl Arguments {
    fn rounds(&self) -> Range<u64> {
        self.round.map_or(0..self.rounds, |round| round..round + 1)
    }

    fn jobs(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(|| 4 * cores(), usize::from)
    }

    fn scenario(&self, seed: u64, round: u64) -> Scenario {
        if self.rival { choice::scenario_of_rival(seed, round) } else { choice::scenario(seed, round) }
    }
}

/// Set once the signals are as a program expects them.
const DEFAULT_SIGNALS: &str = "ORPHANS_SOAK_DEFAULT_SIGNALS";

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if env::var_os(DEFAULT_SIGNALS).is_none() {
        let error = start_over();
        eprintln!("orphans-soak: cannot start over with default signals: {error}");
        return ExitCode::FAILURE;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("orphans-soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes this program again, without the ignored signals that nohup(1), or a shell that runs this in the background, hands
/// down: an app that dies within its first milliseconds would have them still.
fn start_over() -> io::Error {
    let Ok(own) = env::current_exe() else { return io::ErrorKind::NotFound.into() };
    Command::new("env")
        .arg("--default-signal")
        .arg(own)
        .args(env::args_os().skip(1))
        .env(DEFAULT_SIGNALS, "1")
        .exec()
}

fn run(arguments: &Arguments) -> io::Result<bool> {
    let programs = programs()?;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let jobs = arguments.jobs();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let subject = if arguments.rival { "the rival" } else { "pillion" };
    println!("{subject}, seed {seed}, {jobs} rounds side by side");
    let tally = runtime.block_on(soak(arguments, seed, &programs))?;
    println!("{tally}");
    Ok(tally.is_clean())
}

async fn soak(arguments: &Arguments, seed: u64, programs: &Programs) -> io::Result<Tally> {
    let mut rounds = arguments.rounds();
    let total = rounds.end - rounds.start;
    let mut running = JoinSet::new();
    let mut tally = Tally::new(!arguments.rival);
    show_progress(&tally, total)?;
    loop {
        while running.len() < arguments.jobs()
            && let Some(round) = rounds.next()
        {
            let programs = programs.clone();
            let scenario = arguments.scenario(seed, round);
            running.spawn(async move { (round, scenario, scenario.run(&programs).await) });
        }
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            // Dropping the rounds kills their apps, and the guards do the rest.
            _ = tokio::signal::ctrl_c() => return Err(io::ErrorKind::Interrupted.into()),
        };
        let Some(ended) = ended else { break };
        let (round, scenario, outcome) = ended?;
        if let Some(trouble) = tally.add(outcome) {
            let rival = if arguments.rival { " --rival" } else { "" };
            eprintln!("\nround {round}: {scenario:?}: {trouble}");
            eprintln!("to repeat it: cargo xtask soak orphans --seed {seed} --round {round}{rival}");
        }
        show_progress(&tally, total)?;
    }
    Ok(tally)
}

/// One line that is written over, where somebody watches.
fn show_progress(tally: &Tally, rounds: u64) -> io::Result<()> {
    const WIDTH: u64 = 40;
    let mut err = io::stderr();
    if err.is_terminal() {
        let done = usize::try_from(tally.rounds() * WIDTH / rounds).unwrap_or(0);
        let bar = "█".repeat(done);
        write!(err, "\r{bar:░<40} {} of {rounds}, {} failed ", tally.rounds(), tally.failed())?;
        if tally.rounds() == rounds {
            writeln!(err)?;
        }
    }
    Ok(())
}

fn programs() -> io::Result<Programs> {
    let folder = env::current_exe()?;
    let beside = |name: &str| {
        let file = folder.with_file_name(name);
        if file.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other(format!(
                "{} is missing: cargo build --package integration-tests --bins",
                file.display()
            )))
        }
    };
    Ok(Programs {
        host: beside("fake-host")?,
        rival: beside("rival-host")?,
        pillion: beside("pillion-under-test")?,
        sidecar: beside("fake-sidecar")?,
    })
}
