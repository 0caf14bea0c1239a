//! The command line, and the parts of the benchmark in their order.

mod app;
mod availability;
mod backends;
mod build;
mod child;
mod collector;
mod display;
mod flood;
mod load;
mod machine;
mod overhead;
mod processes;
mod report;
mod routes;

use std::{fs, process::ExitCode};

use anyhow::Result;
use build::Workspace;
use clap::{Parser, Subcommand, ValueEnum};
use report::{Report, Table};

/// Measure pillion and AIOS. The report goes to stdout, and as Markdown to target/bench/report.md.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench --", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Few trials and a small flood: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The Rust backend beside the Hono backend.
    Backends,
    /// The supervisor beside a bare spawn of the same program.
    Overhead,
    /// A flood of output through the supervisor.
    Flood,
    /// The start of AIOS beside an empty Tauri shell.
    App,
    /// Requests from inside the webview, by each route.
    Routes,
    /// Crashes, idling, and many sidecars at once.
    Availability,
}

/// What the benchmark runs itself as, so that each measured process is a fresh one.
#[derive(Debug, Subcommand)]
enum Helper {
    #[command(hide = true)]
    Produce(flood::Produce),
    #[command(hide = true)]
    Drain(flood::Drain),
    #[command(hide = true)]
    Hold(availability::Hold),
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Starts of a program that is up within milliseconds.
    starts: usize,
    /// Rounds of everything that takes a second or more.
    rounds: usize,
    /// Seconds of load in each round.
    load: u64,
    /// Bytes of a flood.
    flood: u64,
    /// Starts of each app.
    launches: usize,
    /// Rounds of requests in the webview, and requests in each.
    routes: (usize, usize),
    /// Crashes under load.
    crashes: usize,
    /// Seconds of doing nothing.
    idle: u64,
    /// How many sidecars at once, and how many times over.
    crowds: &'static [(usize, usize)],
}

const FULL: Effort = Effort {
    starts: 40,
    rounds: 3,
    load: 5,
    flood: 1_000_000_000,
    launches: 12,
    routes: (9, 200),
    crashes: 100,
    idle: 60,
    crowds: &[(1, 9), (10, 9), (100, 5), (1000, 1)],
};
const QUICK: Effort = Effort {
    starts: 5,
    rounds: 1,
    load: 1,
    flood: 100_000_000,
    launches: 2,
    routes: (3, 50),
    crashes: 10,
    idle: 12,
    crowds: &[(1, 1), (10, 1), (100, 1)],
};

/// One table of the report: its title, and what measures it.
type Section = (&'static str, fn(&Workspace, Effort) -> Result<Table>);

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to a person")]
pub(crate) fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(Some(report)) => {
            println!("{}", report.plain());
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Option<Report>> {
    match arguments.helper {
        Some(Helper::Produce(produce)) => return produce.run().map(|()| None),
        Some(Helper::Drain(drain)) => return drain.run().map(|()| None),
        Some(Helper::Hold(hold)) => return hold.run().map(|()| None),
        None => {}
    }
    let effort = if arguments.quick { QUICK } else { FULL };
    let workspace = Workspace::find()?;
    let mut report = Report::new(machine::describe(&workspace, arguments.quick));
    for part in Part::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(part) {
            for (title, measure) in part.sections() {
                progress(&format!("measuring: {title}"));
                report.add(title, measure(&workspace, effort));
            }
        }
    }
    let folder = workspace.results()?;
    fs::write(folder.join("report.md"), report.markdown())?;
    Ok(Some(report))
}

impl Part {
    fn sections(self) -> &'static [Section] {
        match self {
            Self::Backends => &[("A backend: Rust beside Hono on Node", backends::measure)],
            Self::Overhead => {
                &[("Supervision: pillion beside a bare spawn of the same backend", overhead::measure)]
            }
            Self::Flood => &[("A flood of output: the supervisor beside a bare read loop", flood::measure)],
            Self::App => &[("The app's start: AIOS beside an empty Tauri shell", app::measure)],
            Self::Routes => &[("A request from the webview, by each way to a sidecar", routes::measure)],
            Self::Availability => &availability::SECTIONS,
        }
    }
}

/// Says what is going on, on stderr: stdout is the report's.
#[expect(clippy::print_stderr, reason = "a command-line tool talks to a person")]
fn progress(what: &str) {
    eprintln!("bench: {what}");
}
