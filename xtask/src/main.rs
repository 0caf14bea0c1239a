//! `cargo xtask`: the tasks of this repository besides compiling. Run it without arguments for the list.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints to its user")]

mod alpine;
mod app;
mod clippy;
mod codegen;
mod compiler;
mod display;
mod doc_references;
mod fuzz;
mod launchers;
mod module_graph;
mod npm;
mod npm_lock;
mod pack;
mod public_api;
mod python;
mod release;
mod sbom;
mod setup;
mod sidecar;
mod steps;
mod template_apps;
mod test;
mod test_summary;
mod third_party_servers;
mod tools;
mod untested_targets;
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
        /// Build with optimisations, as for a release.
        #[arg(long)]
        release: bool,
        /// Wait until the backend is connected, write a picture of the window to FILE, and exit.
        #[arg(long, value_name = "FILE")]
        screenshot: Option<PathBuf>,
    },
    /// Run all checks and tests, including the real app in a real webview.
    Test,
    /// Write all generated files: TypeScript types, OpenAPI documents, permissions, state diagram, configuration schema, public API lists.
    Codegen,
    /// Build the packages for crates.io, npm and PyPI, into `target/xtask/packages`.
    Pack {
        /// Also compile each crate from its package, and use each npm package in an empty project without the network.
        #[arg(long)]
        check: bool,
    },
    /// Set the version of all packages; with `--dry-run`, make and check what a release publishes, without publishing it.
    Release {
        /// The new version, such as `1.2.3`.
        #[arg(required_unless_present = "dry_run", conflicts_with = "dry_run")]
        version: Option<String>,
        /// Change no manifest and publish nothing: build the packages into `target/xtask/packages`, and check them.
        #[arg(long)]
        dry_run: bool,
        /// With `--dry-run`: the tag that is released, such as `v1.2.3`. It must be the version of the packages.
        #[arg(long, requires = "dry_run")]
        tag: Option<String>,
    },
    /// Run servers that know nothing of Pillion as docs/servers.md declares them, and the SDK for Node under Bun and Deno.
    ThirdPartyServers,
    /// Make apps from Tauri's templates with `pillion new` and the packages of `pack`, build them, and open their windows (Linux).
    TemplateApps {
        /// Names, such as `react-npm`, or parts of names, such as `vanilla` [default: all].
        names: Vec<String>,
    },
    /// Build the Windows code, and run its tests under Wine (Debian only).
    Wine,
    /// Build the command line and the backend for musl, and run them in the folder of an installed Alpine Linux (as root).
    Alpine {
        /// The folder.
        root: PathBuf,
    },
    /// Run the app with hot reload of the page; a change of the backend's source rebuilds and swaps the backend only.
    Dev {
        /// Arguments for `tauri dev`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the backend and copy it to the folder where the bundler expects it.
    Sidecar {
        /// Build with optimisations, as for a release.
        #[arg(long)]
        release: bool,
        /// The target triple to build for [default: this machine].
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Bundle the app with its sidecar (`tauri build`).
    Build {
        /// The target triple to build for [default: this machine].
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
        /// The kinds of bundle, for example `deb,rpm` [default: all kinds of this system].
        #[arg(long, value_name = "KINDS")]
        bundles: Option<String>,
    },
    /// Fuzz the parsers of untrusted bytes with libFuzzer; needs cargo-fuzz.
    Fuzz {
        /// One of `fuzz/fuzz_targets` [default: all].
        target: Option<String>,
        /// Seconds for each target.
        #[arg(default_value_t = 300)]
        seconds: u64,
    },
    /// Write the software bills of materials (CycloneDX) beside the packages, as `build` does.
    Sbom {
        /// The target triple of the packages [default: this machine].
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Run the benchmarks.
    Bench {
        /// Arguments for the benchmark program; see `cargo xtask bench -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a randomised test many times (Linux).
    Soak {
        #[command(subcommand)]
        soak: Soak,
    },
}

#[derive(Subcommand)]
enum Soak {
    /// Kill apps in random ways at random moments, and look for surviving sidecar processes.
    Orphans {
        /// Arguments for the soak: `--rounds N`, `--seed N`, `--kinds A,B`, `--onefile`; see `cargo xtask soak orphans -- --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    if let Some(code) = compiler::called() {
        return code;
    }
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
        Task::Codegen => codegen::run(&workspace)?,
        Task::Pack { check } => {
            let files = if check { pack::check_all(&workspace)? } else { pack::run(&workspace)? };
            for file in files {
                println!("{}", file.display());
            }
        }
        Task::Release { version: Some(version), .. } => release::prepare(&workspace, &version)?,
        Task::Release { tag, .. } => release::dry_run(&workspace, tag.as_deref())?,
        Task::ThirdPartyServers => return third_party_servers::run(&workspace),
        Task::TemplateApps { names } => return template_apps::run(&workspace, &names),
        Task::Wine => return wine::run(&workspace),
        Task::Alpine { root } => return alpine::run(&workspace, &root),
        Task::Dev { arguments } => app::dev(&workspace, &arguments)?,
        Task::Sidecar { release, target } => sidecar::build(&workspace, release, target.as_deref())?,
        Task::Build { target, bundles } => app::bundle(&workspace, target.as_deref(), bundles.as_deref())?,
        Task::Fuzz { target, seconds } => fuzz::run(&workspace, target, Duration::from_secs(seconds))?,
        Task::Sbom { target } => sbom::write(&workspace, target.as_deref())?,
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
