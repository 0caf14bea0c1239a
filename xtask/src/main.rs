//! `cargo xtask`: everything this repository does besides compiling. Run it without arguments for the list.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to a person")]

mod app;
mod bill;
mod counts;
mod display;
mod fuzz;
mod lock;
mod npm;
mod setup;
mod sidecar;
mod steps;
mod test;
mod tools;
mod watch;
mod wine;
mod workspace;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand};
use workspace::Workspace;

/// Build, run, test and package AIOS.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, build everything, and run the app.
    App {
        /// Build with optimisations, as it ships.
        #[arg(long)]
        release: bool,
        /// Wait until the backend is connected, write a picture of the window here, and exit.
        #[arg(long, value_name = "FILE")]
        screenshot: Option<PathBuf>,
    },
    /// Check everything, up to the real app in a real webview.
    Test,
    /// Build the Windows code here, and run its tests under Wine (Debian).
    Wine,
    /// Run the app with Vite's hot reload; what changes in the backend is built, and replaces the backend alone.
    Dev {
        /// Passed on to `tauri dev`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the backend and put it where the bundler looks for it.
    Sidecar {
        /// Build with optimisations, as it ships.
        #[arg(long)]
        release: bool,
        /// The target triple to build for; this machine's own by default.
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Bundle the app with its sidecar (`tauri build`).
    Build {
        /// The target triple to build for; this machine's own by default.
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
        /// Which bundles to make, for example `deb,rpm`; every kind of this system by default.
        #[arg(long, value_name = "KINDS")]
        bundles: Option<String>,
    },
    /// Feed what reads untrusted bytes with any bytes, by libFuzzer; needs cargo-fuzz.
    Fuzz {
        /// One of `fuzz/fuzz_targets`; all of them by default.
        target: Option<String>,
        /// How long for each.
        #[arg(default_value_t = 300)]
        seconds: u64,
    },
    /// Write bills of materials of what ships (CycloneDX), beside its packages; `build` does that, too.
    Sbom {
        /// The target triple that it ships for; this machine's own by default.
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Measure. Arguments are passed on to the benchmark program.
    Bench {
        /// See `cargo xtask bench -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Repeat what depends on chance, many times over (Linux).
    Soak {
        #[command(subcommand)]
        soak: Soak,
    },
}

#[derive(Subcommand)]
enum Soak {
    /// Let apps die at random, and look for survivors. Arguments are passed on to the soak.
    Orphans {
        /// `--rounds N`, `--seed N`; see `cargo xtask soak orphans -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match task {
        Task::App { release, screenshot } => app::run(&workspace, release, screenshot.as_deref())?,
        Task::Test => return test::run(&workspace),
        Task::Wine => return wine::run(&workspace),
        Task::Dev { arguments } => app::dev(&workspace, &arguments)?,
        Task::Sidecar { release, target } => sidecar::build(&workspace, release, target.as_deref())?,
        Task::Build { target, bundles } => app::bundle(&workspace, target.as_deref(), bundles.as_deref())?,
        Task::Fuzz { target, seconds } => fuzz::run(&workspace, target, Duration::from_secs(seconds))?,
        Task::Sbom { target } => bill::write(&workspace, target.as_deref())?,
        Task::Bench { arguments } => {
            let sh = workspace.shell()?;
            xshell::cmd!(sh, "cargo run --release --package pillion-bench -- {arguments...}").run()?;
        }
        Task::Soak { soak: Soak::Orphans { arguments } } => {
            let sh = workspace.shell()?;
            xshell::cmd!(sh, "cargo build --quiet --package integration-tests --bins").run()?;
            let soak = workspace.programs(false).join("orphans-soak");
            xshell::cmd!(sh, "{soak} {arguments...}").quiet().run()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
