//! `pillion ci`: writes a workflow for the app's CI.

mod github;
mod targets;
mod workflow;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args as ClapArgs, Subcommand};

use self::{targets::Runner, workflow::Workflow};
use crate::project::Project;

/// Write a workflow for the CI of the app.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example:\n  pillion ci github --dry-run")]
pub(crate) struct Args {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    Github(GithubArgs),
}

/// Write .github/workflows/bundle.yml, which bundles the app on Linux, macOS and Windows.
///
/// The workflow builds the sidecars (`pillion package`), checks project and sidecars (`pillion doctor`, `pillion check`), bundles the app
/// (`tauri build`) and keeps the packages. It signs if the secrets of the repository are set; docs/ci.md lists them. The file is yours:
/// read it, and change it.
///
/// Exit status: 0 if the file is written or has this text already, 1 if it exists with another text, 2 if the command line is wrong or
/// the project cannot be read.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
struct GithubArgs {
    /// A folder of the project.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// A target to bundle for. May be repeated; by default x86_64-unknown-linux-gnu, aarch64-apple-darwin and x86_64-pc-windows-msvc.
    #[arg(long, value_name = "TRIPLE", value_parser = targets::runner)]
    target: Vec<Runner>,
    /// The branch whose pushes start the workflow, besides tags and pull requests.
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    branch: String,
    /// The git URL from which the workflow installs the command `pillion` [default: crates.io].
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Write the workflow to stdout, and no file.
    #[arg(long)]
    dry_run: bool,
    /// Overwrite an existing file.
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  Look at the workflow first:
    pillion ci github --dry-run
  Only two targets, and another branch:
    pillion ci github --target x86_64-unknown-linux-gnu --target universal-apple-darwin --branch develop";

const FILE: &str = ".github/workflows/bundle.yml";
const WRONG_USAGE: u8 = 2;

pub(crate) fn main(args: Args) -> ExitCode {
    let Service::Github(args) = args.service;
    match github(args) {
        Ok(code) => code,
        Err(message) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

fn github(args: GithubArgs) -> Result<ExitCode, String> {
    let project = Project::find(&args.project).map_err(|error| error.to_string())?;
    let runners = if args.target.is_empty() { targets::default() } else { args.target };
    let repository =
        project.tauri.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&project.root);
    let text = Workflow::of(&project, repository, runners, args.branch, args.source)?.to_string();
    if args.dry_run {
        let written = io::stdout().write_all(text.as_bytes());
        written.map_err(|error| format!("cannot write to stdout: {error}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = repository.join(FILE);
    write(&file, &text, args.force)
}

/// Writes the file, unless another one exists.
fn write(file: &Path, text: &str, force: bool) -> Result<ExitCode, String> {
    let shown = Project::shown(file);
    match fs::read_to_string(file) {
        Ok(existing) if existing == text => {
            anstream::println!("{shown} is up to date");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) | Err(_) if force => {}
        Ok(_) | Err(_) => {
            anstream::eprintln!(
                "pillion: {shown} exists and has another text: look at the new one with --dry-run, or overwrite the file with --force"
            );
            return Ok(ExitCode::FAILURE);
        }
    }
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| format!("cannot write {shown}: {error}"))?;
    anstream::println!("{shown} is written: commit it; docs/ci.md lists the secrets that it signs with");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
