//! Runs the rounds side by side, and shows their progress.

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
use integration_tests::orphans::{Programs, Scenario, SidecarKind};
use tokio::task::JoinSet;

use crate::{choice, tally::Tally};

/// Let apps die and look for survivors.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask soak orphans")]
struct Arguments {
    /// The number of deaths.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// The seed of the random choices. The default is a new one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Run only the round of this number, to repeat a failure.
    #[arg(long, value_name = "NUMBER", requires = "seed", conflicts_with = "rounds")]
    round: Option<u64>,
    /// The number of rounds that run side by side. The default is four for each core, because a round mostly waits.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Measure an app without pillion. Its survivors are counted, and are not failures.
    #[arg(long)]
    baseline: bool,
    /// Also build a PyInstaller onefile sidecar, and choose from it too. A notice says if it cannot be built.
    #[arg(long)]
    onefile: bool,
    /// Choose only from these kinds of sidecars.
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kinds: Vec<SidecarKind>,
}

/// A kind by its name in the code, such as `ForkStorm`.
fn kind(name: &str) -> Result<SidecarKind, String> {
    let kinds = [SidecarKind::ALL.as_slice(), &SidecarKind::FURTHER].concat();
    let names: Vec<_> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
    let found = names.iter().position(|known| known == name);
    found.map(|place| kinds[place]).ok_or_else(|| format!("the kinds are {}", names.join(", ")))
}

impl Arguments {
    fn rounds(&self) -> Range<u64> {
        self.round.map_or(0..self.rounds, |round| round..round + 1)
    }

    fn jobs(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(|| 4 * cores(), usize::from)
    }

    /// The kinds to choose from. The onefile program takes part if it was built.
    fn kinds(&self, has_onefile: bool) -> Vec<SidecarKind> {
        let mut kinds = if self.kinds.is_empty() { SidecarKind::ALL.to_vec() } else { self.kinds.clone() };
        if self.onefile && !kinds.contains(&SidecarKind::OneFile) {
            kinds.push(SidecarKind::OneFile);
        }
        kinds.retain(|kind| has_onefile || *kind != SidecarKind::OneFile);
        kinds
    }

    fn scenario(&self, seed: u64, round: u64, kinds: &[SidecarKind]) -> Scenario {
        if self.baseline {
            choice::scenario_of_baseline(seed, round, kinds)
        } else {
            choice::scenario(seed, round, kinds)
        }
    }
}

/// Set in a process that has the default signal dispositions.
const DEFAULT_SIGNALS: &str = "ORPHANS_SOAK_DEFAULT_SIGNALS";

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if env::var_os(DEFAULT_SIGNALS).is_none() {
        let error = start_over();
        eprintln!("orphans-soak: cannot restart itself with default signal dispositions: {error}");
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

/// Replaces this process with the same program and default signal dispositions. nohup(1), or a shell that runs this in the
/// background, lets children inherit ignored signals; an app that dies in its first milliseconds would still ignore them.
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
    let mut programs = Programs::built()?;
    if arguments.onefile || arguments.kinds.contains(&SidecarKind::OneFile) {
        match integration_tests::orphans::onefile::build() {
            Ok(program) => programs.onefile = Some(program),
            Err(reason) => eprintln!("not included: a PyInstaller onefile sidecar: {reason}"),
        }
    }
    let kinds = arguments.kinds(programs.onefile.is_some());
    if kinds.is_empty() {
        return Err(io::Error::other("none of the chosen kinds of sidecars is available"));
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let jobs = arguments.jobs();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let subject = if arguments.baseline { "the baseline" } else { "pillion" };
    println!("{subject}, seed {seed}, {jobs} rounds side by side");
    let tally = runtime.block_on(soak(arguments, seed, &programs, &kinds))?;
    println!("{tally}");
    Ok(tally.is_clean())
}

async fn soak(
    arguments: &Arguments,
    seed: u64,
    programs: &Programs,
    kinds: &[SidecarKind],
) -> io::Result<Tally> {
    let mut rounds = arguments.rounds();
    let total = rounds.end - rounds.start;
    let mut running = JoinSet::new();
    let mut tally = Tally::new(!arguments.baseline);
    show_progress(&tally, total)?;
    loop {
        while running.len() < arguments.jobs()
            && let Some(round) = rounds.next()
        {
            let programs = programs.clone();
            let scenario = arguments.scenario(seed, round, kinds);
            running.spawn(async move { (round, scenario, scenario.run(&programs).await) });
        }
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            // Dropping the rounds kills their apps; the guards stop the sidecars.
            _ = tokio::signal::ctrl_c() => return Err(io::ErrorKind::Interrupted.into()),
        };
        let Some(ended) = ended else { break };
        let (round, scenario, outcome) = ended?;
        if let Some(failure) = tally.add(outcome) {
            let mut options = if arguments.baseline { " --baseline".to_owned() } else { String::new() };
            if arguments.onefile {
                options += " --onefile";
            }
            if !arguments.kinds.is_empty() {
                let kinds: Vec<_> = arguments.kinds.iter().map(|kind| format!("{kind:?}")).collect();
                options += &format!(" --kinds {}", kinds.join(","));
            }
            eprintln!("\nround {round}: {scenario:?}: {failure}");
            eprintln!("to repeat it: cargo xtask soak orphans --seed {seed} --round {round}{options}");
        }
        show_progress(&tally, total)?;
    }
    Ok(tally)
}

/// Rewrites one line of progress, if stderr is a terminal.
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
