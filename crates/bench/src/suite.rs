//! The command line, and the parts of the benchmark in order.

mod app;
mod availability;
mod backends;
mod births;
mod build;
mod builds;
mod child;
mod collector;
mod curves;
mod flood;
mod load;
mod machine;
mod overhead;
mod peers;
mod picture;
mod processes;
mod report;
mod routes;

use std::{fs, process::ExitCode};

use anyhow::Result;
use build::Workspace;
use clap::{Parser, Subcommand, ValueEnum};
use report::{Report, Table};

/// Measure pillion and AIOS. The report goes to stdout, and as Markdown with its pictures to target/bench.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench --", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Few trials and little output: a check that the benchmark works. Do not quote its numbers.
    #[arg(long)]
    quick: bool,
    /// Run only these parts [default: all except `builds`].
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Also replace the pictures in docs/benchmarks by those of this run.
    #[arg(long, conflicts_with = "quick")]
    docs: bool,
    #[command(subcommand)]
    helper: Option<Helper>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The Rust backend, and the Hono backend.
    Backends,
    /// The supervisor, and a bare spawn of the same program.
    Overhead,
    /// A large output through the supervisor.
    Flood,
    /// The start of AIOS, of its page without a backend, and of an empty Tauri shell.
    App,
    /// Requests from the webview, by each route.
    Routes,
    /// Crashes, and idle time.
    Availability,
    /// Other supervisors: tini, s6, systemd-run.
    Peers,
    /// The start, the stop and the memory, as curves by the number of sidecars.
    Sidecars,
    /// The processor time, as a curve by the lines per second.
    Lines,
    /// Requests of a page, as curves by the size of the body.
    Bodies,
    /// Event streams of a page, as curves by their number.
    Streams,
    /// The start and the memory of an app, as curves by the number of windows.
    Windows,
    /// The time of builds. Only if it is asked for: it compiles Tauri four times.
    Builds,
}

/// The roles in which the benchmark runs itself, so that each measured process is a new one.
#[derive(Debug, Subcommand)]
enum Helper {
    #[command(hide = true)]
    Produce(flood::Produce),
    #[command(hide = true)]
    Drain(flood::Drain),
    #[command(hide = true)]
    Hold(availability::Hold),
}

/// The number and size of the trials.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Starts of a program that is ready within milliseconds.
    starts: usize,
    /// Rounds of each measurement of a second or more.
    rounds: usize,
    /// Seconds of load in each round.
    load: u64,
    /// Bytes of a large output.
    flood: u64,
    /// Starts of each app.
    launches: usize,
    /// Rounds of requests in the webview, and requests in each.
    routes: (usize, usize),
    /// Crashes under load.
    crashes: usize,
    /// Seconds of idle time.
    idle: u64,
    /// Numbers of sidecars at once, with the number of rounds of each.
    crowds: &'static [(usize, usize)],
    /// Seconds of output at each number of lines per second, and rounds.
    lines: (u64, usize),
    /// Sizes of downloads and of uploads in bytes. `pillion-server` accepts bodies of up to 64 MiB unless a sidecar says otherwise.
    requests: [&'static [u64]; 2],
    /// Numbers of open event streams.
    streams: &'static [u64],
    /// Numbers of windows.
    windows: &'static [usize],
    /// Whether apps are also built with optimisations.
    release_builds: bool,
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
    crowds: &[(1, 9), (3, 9), (10, 9), (30, 7), (100, 5), (300, 3), (1000, 3)],
    lines: (3, 3),
    requests: [
        &[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000],
        &[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 64_000_000],
    ],
    streams: &[1, 2, 5, 10, 20, 50, 100, 200, 500],
    windows: &[1, 2, 4, 8, 16],
    release_builds: true,
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
    lines: (1, 1),
    requests: [&[1_000, 100_000, 10_000_000], &[1_000, 100_000, 10_000_000]],
    streams: &[1, 5, 100],
    windows: &[1, 4],
    release_builds: false,
};

/// One table of the report: its title, and the function that measures it.
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
        if arguments.only.contains(part) || arguments.only.is_empty() && *part != Part::Builds {
            for (title, measure) in part.sections() {
                progress(&format!("measuring: {title}"));
                report.add(title, measure(&workspace, effort));
            }
        }
    }
    let folder = workspace.results()?;
    fs::write(folder.join("report.md"), report.markdown())?;
    let mut folders = vec![folder.join("benchmarks")];
    folders.extend(arguments.docs.then(|| workspace.root.join("docs/benchmarks")));
    for folder in folders {
        fs::create_dir_all(&folder)?;
        for picture in report.pictures() {
            fs::write(folder.join(picture.file).with_extension("svg"), picture.svg()?)?;
        }
    }
    Ok(Some(report))
}

impl Part {
    fn sections(self) -> &'static [Section] {
        match self {
            Self::Backends => &[("A backend: Rust, and Hono on Node", backends::measure)],
            Self::Overhead => {
                &[("Supervision: pillion, and a bare spawn of the same backend", overhead::measure)]
            }
            Self::Flood => &[("A large output: the supervisor, and a bare read loop", flood::measure)],
            Self::App => {
                &[("The app's start, step by step: an empty shell, the page alone, and AIOS", app::measure)]
            }
            Self::Routes => &[("A request from the webview, by each route to a sidecar", routes::measure)],
            Self::Availability => &availability::SECTIONS,
            Self::Peers => &[("Peers: other programs that start and stop a sidecar", peers::measure)],
            Self::Sidecars => &[(
                "Many sidecars: the supervisor, and a bare spawn loop of the same program",
                curves::sidecars::measure,
            )],
            Self::Lines => {
                &[("Lines per second: the supervisor, and a bare read loop", curves::lines::measure)]
            }
            Self::Bodies => {
                &[("Requests from the webview, by the size of the body", curves::requests::measure)]
            }
            Self::Streams => &[("Open event streams, through the app", curves::streams::measure)],
            Self::Windows => {
                &[("Windows: pages that ask the sidecar, and pages that do not", curves::windows::measure)]
            }
            Self::Builds => &builds::SECTIONS,
        }
    }
}

/// Shows progress on stderr: stdout is for the report.
#[expect(clippy::print_stderr, reason = "a command-line tool talks to a person")]
fn progress(text: &str) {
    eprintln!("bench: {text}");
}
