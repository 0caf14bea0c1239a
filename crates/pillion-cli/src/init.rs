//! `pillion init`: adds Pillion to an existing Tauri app.

mod backend;
mod build_script;
mod builder;
mod configuration;
mod csp;
mod edits;
mod json;
mod main_function;
mod plan;
mod report;
mod source;
mod source_text;
mod toml;

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args as ClapArgs, ValueEnum};

pub(crate) use self::{backend::Runtime, source::Source};

use self::{
    backend::Backend,
    plan::{ByHandKind, Choices},
};
use crate::project::{Format, Platform, Project, read_text};

/// Adds permissions to the capability below these keys of a file. Comments and order stay.
///
/// # Errors
///
/// The file cannot be read, edited or written.
pub(crate) fn add_permissions(file: &Path, keys: &[String], permissions: &[&str]) -> Result<(), String> {
    let raw = read_text(file).map_err(|error| error.to_string())?;
    let (form, text) = source_text::TextForm::take(&raw);
    let edited = configuration::add_permissions(Format::of(file), &text, keys, permissions)?;
    std::fs::write(file, form.restore(&edited)).map_err(|error| error.to_string())
}

/// Add Pillion to an existing Tauri app.
///
/// Finds the app in this folder, above it, or up to three folders below, and the backend in a folder beside it. Then shows the changes as a
/// diff, asks, and writes them: the plugin in src-tauri/Cargo.toml and in the builder, the permissions of the page, the declaration in the
/// Tauri configuration with `bundle.externalBin` and the schema for your editor, the client in package.json, the SDK in the backend, and
/// ignored files. Comments, order, indentation and line endings stay. What it cannot change, it leaves as it is, and says which lines to
/// add. The installers for Windows (NSIS, MSI) need no hook for sidecars, so it adds none. All changes are computed before the first file
/// is written. Running it again changes nothing.
///
/// Exit status: 0 if the files are written, or nothing had to change; 1 if you answered no, or a file is wrong or cannot be written;
/// 2 if the command line is wrong, or a choice is missing that only you can make.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The language of the backend; by default, the files of its folder say it.
    #[arg(long, value_enum, value_name = "RUNTIME")]
    backend: Option<BackendChoice>,
    /// The folder of the backend; by default, the one that looks like a backend.
    #[arg(long, value_name = "FOLDER")]
    backend_dir: Option<PathBuf>,
    /// The name of the sidecar, by which the page calls it [default: the declared one, or backend].
    #[arg(long, value_name = "NAME", value_parser = sidecar_name)]
    name: Option<String>,
    /// Where Pillion's packages come from: the folder of a clone of its repository, or its git URL [default: the registries].
    #[arg(long, value_name = "SOURCE", value_parser = Source::parse)]
    source: Option<Source>,
    /// A folder of the app.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// Show the changes, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Write the changes without asking.
    #[arg(long, short)]
    yes: bool,
    /// Write the changes to stdout as one JSON object. Needs --yes or --dry-run.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  See what it would change:
    pillion init --dry-run
  In a script, with a backend in Python:
    pillion init --yes --backend python --backend-dir backend
  With a clone of Pillion's repository instead of the registries:
    pillion init --source ../pillion";

const WRONG_USAGE: u8 = 2;

/// A backend, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendChoice {
    Node,
    Bun,
    Deno,
    Python,
    Go,
    Rust,
    /// Only the app's side: the backend is in another language, is a ready-made program, or comes later.
    None,
}

impl BackendChoice {
    fn runtime(self) -> Option<Runtime> {
        match self {
            Self::Node => Some(Runtime::Node),
            Self::Bun => Some(Runtime::Bun),
            Self::Deno => Some(Runtime::Deno),
            Self::Python => Some(Runtime::Python),
            Self::Go => Some(Runtime::Go),
            Self::Rust => Some(Runtime::Rust),
            Self::None => None,
        }
    }
}

/// Why a run ended without its work.
enum Failure {
    /// The developer has to decide or to write something else.
    Usage(String),
    /// A file is wrong or cannot be written.
    File(String),
}

pub(crate) fn main(args: Args) -> ExitCode {
    match run(args) {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::from(WRONG_USAGE)
        }
        Err(Failure::File(message)) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<ExitCode, Failure> {
    let may_ask = io::stdin().is_terminal() && io::stderr().is_terminal() && !args.json && !args.yes;
    if args.json && !args.yes && !args.dry_run {
        return Err(Failure::Usage(
            "--json asks nothing: add --yes to write, or --dry-run to look".to_owned(),
        ));
    }
    let project = Project::find(&args.project).map_err(|error| Failure::File(error.to_string()))?;
    let declared = project.config.on(Platform::host()).sidecars();
    let declared = declared.map_err(|error| Failure::File(error.to_string()))?.unwrap_or_default();
    let name =
        args.name.clone().or_else(|| Some(declared.first()?.name.clone())).unwrap_or("backend".to_owned());
    let known = declared.iter().any(|sidecar| sidecar.name == name);
    let backend = choose_backend(&args, &project, known, may_ask).map_err(Failure::Usage)?;
    let choices = Choices { name, source: args.source.unwrap_or(Source::Registries), backend };
    let plan = plan::plan(&project, &choices).map_err(Failure::File)?;
    let cannot_show = |error: io::Error| Failure::File(format!("cannot write to stdout: {error}"));
    if !args.json {
        report::text(&project, &choices, &plan, &mut anstream::stdout().lock()).map_err(cannot_show)?;
    }
    let write = !args.dry_run && !plan.edits.is_empty();
    if write && !args.yes {
        if !may_ask {
            return Err(Failure::Usage(
                "nothing is written without a yes: add --yes, or --dry-run to only look".to_owned(),
            ));
        }
        let answer = ask("Write these changes? [y/N] ").map_err(Failure::Usage)?;
        if !matches!(answer.to_lowercase().as_str(), "y" | "yes") {
            anstream::eprintln!("pillion: nothing was written");
            return Ok(ExitCode::FAILURE);
        }
    }
    if write {
        plan.edits.write().map_err(Failure::File)?;
    }
    if args.json {
        report::json(&project, &choices, &plan, write, io::stdout().lock()).map_err(cannot_show)?;
    } else {
        report::outcome(&plan, write, &mut anstream::stdout().lock()).map_err(cannot_show)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds Pillion to a new app, without questions, and prints what is next.
///
/// # Errors
///
/// Fails if a file of the app is wrong or cannot be written.
pub(crate) fn add(folder: &Path, backend: (PathBuf, Runtime), source: Source) -> Result<ExitCode, String> {
    let project = Project::find(folder).map_err(|error| error.to_string())?;
    let backend = Backend::in_folder(&backend.0, Some(backend.1))?;
    let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
    let mut plan = plan::plan(&project, &choices)?;
    // The files of the new app already have these lines.
    plan.by_hand.retain(|item| item.kind != ByHandKind::Call);
    plan.edits.write()?;
    report::outcome(&plan, true, &mut anstream::stdout().lock())
        .map_err(|error| format!("cannot write to stdout: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The backend of the flags, the only one that is found, or the one that the developer chooses. `None` without a backend.
///
/// # Errors
///
/// Fails if the choice is not clear and the developer cannot be asked.
fn choose_backend(
    args: &Args,
    project: &Project,
    known: bool,
    may_ask: bool,
) -> Result<Option<Backend>, String> {
    if args.backend == Some(BackendChoice::None) {
        return Ok(None);
    }
    let runtime = args.backend.and_then(BackendChoice::runtime);
    if let Some(folder) = &args.backend_dir {
        let folder = std::path::absolute(folder).map_err(|error| format!("--backend-dir: {error}"))?;
        return Backend::in_folder(&folder, runtime).map(Some);
    }
    let mut found = Backend::find_all(project);
    if let Some(runtime) = runtime {
        found.retain(|backend| backend.runtime == runtime);
    }
    let describe =
        |backend: &Backend| format!("{} in {}", backend.runtime.name(), Project::shown(&backend.folder));
    match found.as_slice() {
        [only] => Ok(Some(only.clone())),
        // The declaration exists: this run only completes the rest.
        _ if known && runtime.is_none() => Ok(None),
        [] if may_ask => {
            let folder = ask("In which folder is the backend? (empty: only the app's side) ")?;
            if folder.is_empty() {
                return Ok(None);
            }
            let folder = std::path::absolute(&folder).map_err(|error| format!("{folder}: {error}"))?;
            Backend::in_folder(&folder, runtime).map(Some)
        }
        [] => Err(format!(
            "found no {}backend beside {}: pass --backend-dir FOLDER, or --backend none for only the app's side: the server is in \
             another language, or a ready-made program",
            runtime.map_or(String::new(), |runtime| format!("{} ", runtime.name())),
            Project::shown(&project.tauri)
        )),
        several if may_ask => {
            for (index, backend) in several.iter().enumerate() {
                anstream::eprintln!("  {}. {}", index + 1, describe(backend));
            }
            let answer = ask("Which of these is the backend? (number) ")?;
            let chosen = answer.parse::<usize>().ok().and_then(|number| several.get(number.checked_sub(1)?));
            chosen
                .cloned()
                .map(Some)
                .ok_or_else(|| format!("{answer:?} is not one of the numbers; pass --backend-dir FOLDER"))
        }
        several => Err(format!(
            "found {} folders that look like a backend ({}): pass --backend-dir FOLDER",
            several.len(),
            several.iter().map(describe).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Asks the developer on the terminal.
fn ask(question: &str) -> Result<String, String> {
    let failed = |error: io::Error| format!("cannot ask on the terminal: {error}");
    anstream::eprint!("{question}");
    io::stderr().flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}

/// Checks the name of a sidecar, which is also a part of a file name.
fn sidecar_name(text: &str) -> Result<String, String> {
    let valid = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !text.is_empty()
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(valid)
    {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, - and _, and begin with a letter or a digit".to_owned())
}

#[cfg(test)]
mod tests;
