//! `pillion new`: makes a Tauri app with a backend, from Tauri's own template.

mod files;

use std::{
    env,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use clap::{Args as ClapArgs, ValueEnum};

use self::files::{backend_files, page_files};
use crate::{
    init::{self, Runtime, Source},
    project::PackageManager,
};

/// Make a Tauri app with a backend.
///
/// Runs Tauri's own `create-tauri-app` from npm for the app, adds a backend in the folder `backend` and a page that calls it, and then
/// does what `pillion init` does. Nothing is installed or compiled; the commands for that are printed.
///
/// Exit status: 0 if the app is made, 1 if it could not be made, 2 if the command line is wrong.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the app, and of its new folder.
    #[arg(value_name = "NAME", value_parser = app_name)]
    name: String,
    /// The page: React or Svelte with TypeScript and Vite, or plain files without a bundler.
    #[arg(long, value_enum, default_value_t = Template::React)]
    template: Template,
    /// The language of the backend.
    #[arg(long, value_enum, default_value_t = Runtime::Node)]
    backend: Runtime,
    /// The package manager of the page.
    #[arg(long, value_enum, default_value_t = PackageManager::Npm)]
    manager: PackageManager,
    /// The identifier of the app, in reverse domain notation [default: com.example.NAME].
    #[arg(long, value_name = "ID")]
    identifier: Option<String>,
    /// Where Pillion's packages come from: the folder of a clone of its repository, or its git URL [default: the registries].
    #[arg(long, value_name = "SOURCE", value_parser = Source::parse)]
    source: Option<Source>,
}

const EXAMPLES: &str = "\
Examples:
  pillion new notes --template react --backend python
  pillion new notes --template svelte --backend rust --manager pnpm";

/// The package that makes the app, in the major version whose options this command knows:
/// <https://v2.tauri.app/start/create-project/>.
const CREATE: &str = "create-tauri-app@4";

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    React,
    Svelte,
    Vanilla,
}

impl Template {
    /// The name in `create-tauri-app`.
    fn of_tauri(self) -> &'static str {
        match self {
            Self::React => "react-ts",
            Self::Svelte => "svelte-ts",
            Self::Vanilla => "vanilla",
        }
    }
}

pub(crate) fn main(args: Args) -> ExitCode {
    match create(args) {
        Ok(code) => code,
        Err(message) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::FAILURE
        }
    }
}

fn create(args: Args) -> Result<ExitCode, String> {
    let folder = env::current_dir().map_err(|error| format!("the current folder: {error}"))?.join(&args.name);
    if folder.exists() {
        return Err(format!("{} exists: choose another name, or run `pillion init` in it", folder.display()));
    }
    create_app(&args)?;
    for (path, text) in backend_files(args.backend, &args.name) {
        write(&folder.join("backend").join(path), &text)?;
    }
    for (path, text) in page_files(args.template) {
        write(&folder.join(path), text)?;
    }
    let backend = (folder.join("backend"), args.backend);
    init::add(&folder, backend, args.source.unwrap_or(Source::Registries))
}

/// Runs `create-tauri-app`.
fn create_app(args: &Args) -> Result<(), String> {
    let npx = if cfg!(windows) { "npx.cmd" } else { "npx" };
    let identifier = args.identifier.clone().unwrap_or_else(|| format!("com.example.{}", args.name));
    let options = [
        "--template",
        args.template.of_tauri(),
        "--manager",
        args.manager.name(),
        "--identifier",
        &identifier,
    ];
    let mut command = Command::new(npx);
    command.args(["--yes", CREATE, &args.name, "--yes"]).args(options).stdin(Stdio::null());
    let output = command.output().map_err(|error| {
        format!("cannot run {npx}: {error}; install Node with npm, which brings Tauri's templates: https://nodejs.org")
    })?;
    if output.status.success() && Path::new(&args.name).is_dir() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "`{npx} {CREATE}` made no app ({}); it needs the npm registry once. It printed: {}",
        output.status,
        words.trim()
    ))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    std::fs::write(path, text).map_err(failed)
}

/// Checks the name of an app, which becomes the name of a folder, an npm package and a crate.
fn app_name(text: &str) -> Result<String, String> {
    let valid = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let named = text.starts_with(|first: char| first.is_ascii_lowercase()) && !text.ends_with('-');
    if named && text.chars().all(valid) {
        return Ok(text.to_owned());
    }
    Err("use lower-case letters, digits and -, and begin with a letter: the name is also that of a crate and a package".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_name_must_fit_crates_and_packages() {
        for name in ["notes", "my-notes2"] {
            assert_eq!(app_name(name).as_deref(), Ok(name));
        }
        for name in ["", "Notes", "2notes", "notes-", "../notes", "no tes", "-x"] {
            assert!(app_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn each_backend_is_recognised_by_its_files() {
        for runtime in
            [Runtime::Node, Runtime::Bun, Runtime::Deno, Runtime::Python, Runtime::Go, Runtime::Rust]
        {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in backend_files(runtime, "notes") {
                write(&folder.path().join(path), &text).unwrap();
                assert!(!text.contains("NAME"), "{path}");
            }
            assert_eq!(Runtime::of(folder.path()), Some(runtime));
        }
    }

    #[test]
    fn each_page_calls_the_sidecar_of_the_declaration() {
        for template in [Template::React, Template::Svelte, Template::Vanilla] {
            let files: Vec<PathBuf> =
                page_files(template).iter().map(|(path, _)| PathBuf::from(path)).collect();
            assert!(!files.is_empty());
            assert!(
                page_files(template).iter().any(|(_, text)| text.contains("sidecar(\"backend\")")),
                "{files:?}"
            );
        }
    }
}
