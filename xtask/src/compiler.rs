//! xtask as the compiler, and as rustdoc, that Cargo calls in `cargo xtask test`.
//!
//! Clippy, rustdoc and the corpora of the fuzz targets thus use the dependencies as they were compiled for the tests. `cargo clippy` and
//! `cargo doc` would compile each of them again for its types alone, and other flags for the corpora the crates of this repository.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result};
use xshell::Cmd;

use crate::{
    clippy::Unit,
    fuzz,
    workspace::{Workspace, program},
};

/// The folder for what is known of each compiled unit. Set for xtask as the compiler.
const UNITS: &str = "PILLION_XTASK_UNITS";

/// The names of the variables that Cargo has inherited, with commas. What the compiler has besides is from Cargo and build scripts.
const INHERITED: &str = "PILLION_XTASK_INHERITED";

/// xtask as a program with a name of its own.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    program: PathBuf,
    units: PathBuf,
}

impl Compiler {
    /// Copies xtask to the folder of the units. Cargo compiles anew for a compiler of another name, so this name is made with the folder:
    /// all that Cargo has compiled by it is noted there.
    pub(crate) fn install(workspace: &Workspace) -> Result<Self> {
        let units = Unit::folder(workspace);
        fs::create_dir_all(&units)?;
        let prefix = "rustc-";
        let known = fs::read_dir(&units)?.filter_map(Result::ok).map(|entry| entry.path());
        let known = known.into_iter().find(|file| {
            file.extension() == Path::new(&program(prefix)).extension()
                && file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        });
        let installed = known.unwrap_or_else(|| {
            units.join(program(&format!("{prefix}{:016x}", RandomState::new().build_hasher().finish())))
        });
        // Not `current_exe`: Cargo may have replaced the file of the program that runs.
        let this = workspace.programs(false).join(program("xtask"));
        let copy = units.join("new");
        fs::copy(&this, &copy).with_context(|| format!("cannot copy {}", this.display()))?;
        fs::rename(copy, &installed)?;
        Ok(Self { program: installed, units })
    }

    /// A command of Cargo that compiles the crates of this repository by xtask. Cargo keeps what it compiles so apart from what other
    /// commands compile (<https://doc.rust-lang.org/cargo/reference/config.html#buildrustc-workspace-wrapper>).
    pub(crate) fn compiles<'sh>(&self, command: Cmd<'sh>) -> Cmd<'sh> {
        let names: Vec<_> = env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        command
            .env("RUSTC_WORKSPACE_WRAPPER", &self.program)
            .env(UNITS, &self.units)
            .env(INHERITED, names.join(","))
    }

    /// As [`compiles`](Self::compiles), for a command that tests the documentation: rustdoc also writes the documentation as JSON, with
    /// warnings denied, to `doc` in Cargo's target directory.
    pub(crate) fn documents<'sh>(&self, command: Cmd<'sh>) -> Cmd<'sh> {
        self.compiles(command).env("RUSTDOC", &self.program)
    }
}

/// As the compiler or rustdoc: does their work, and returns the exit code. Otherwise `None`.
pub(crate) fn called() -> Option<ExitCode> {
    let units = env::var_os(UNITS)?;
    let mut words = env::args_os().skip(1);
    let first = words.next()?;
    // Cargo calls a wrapper with the path of the compiler, and rustdoc with its options.
    let status = if first.as_encoded_bytes().starts_with(b"-") {
        rustdoc(&[first].into_iter().chain(words).collect::<Vec<_>>(), Path::new(&units))
    } else {
        rustc(&first, &words.collect::<Vec<_>>(), Path::new(&units))
    };
    Some(match status {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// Compiles a crate of this repository, and notes how.
fn rustc(compiler: &OsStr, words: &[OsString], units: &Path) -> Result<ExitStatus> {
    let mut command = Command::new(compiler);
    command.args(words);
    // In the unit tests alone: the programs that are tested are those that are built without xtask.
    if words.iter().any(|word| word == "--test") {
        command.args(fuzz::flags_of(&env::var("CARGO_PKG_NAME").unwrap_or_default()));
    }
    let status = run(command)?;
    if status.success() {
        let inherited = env::var(INHERITED).unwrap_or_default();
        let inherited: Vec<_> = inherited.split(',').collect();
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let given = environment.filter(|(name, _)| is_given(name, &inherited));
        Unit::note(compiler, words, given.collect(), units)?;
    }
    Ok(status)
}

/// Whether Cargo has set a variable for this unit, by itself or for a build script. xtask, which Cargo has started, has such variables as well.
/// Not those of the job server, whose descriptors end with Cargo.
fn is_given(name: &str, inherited: &[&str]) -> bool {
    let own = name.starts_with("CARGO") || name == "OUT_DIR" || !inherited.contains(&name);
    own && ![UNITS, INHERITED, "CARGO_MAKEFLAGS"].contains(&name)
}

/// Tests the documentation of a library after it has written it.
fn rustdoc(words: &[OsString], units: &Path) -> Result<ExitStatus> {
    if let Some(words) = documentation(words) {
        let mut command = Command::new("rustdoc");
        // Rustdoc alone gets the variable that allows unstable options: some build scripts run again if it changes.
        command.args(words).arg("--out-dir").arg(units.with_file_name("doc")).env("RUSTC_BOOTSTRAP", "1");
        let status = run(command)?;
        if !status.success() {
            return Ok(status);
        }
    }
    let mut command = Command::new("rustdoc");
    command.args(words);
    run(command)
}

/// The options that write the documentation of a library as JSON, from those that test it. `None` if they do not test.
fn documentation(words: &[OsString]) -> Option<Vec<OsString>> {
    if !words.iter().any(|word| word == "--test") {
        return None;
    }
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--test" | "--no-run") => {}
            Some("--test-run-directory" | "--test-args") => drop(words.next()),
            _ => kept.push(word.clone()),
        }
    }
    kept.extend(["--deny", "warnings", "-Zunstable-options", "--output-format", "json"].map(OsString::from));
    Some(kept)
}

fn run(mut command: Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start {}", Path::new(command.get_program()).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_compiler_has_a_new_name_if_the_notes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: folder.path().into(), target: folder.path().join("target") };
        let this = workspace.programs(false);
        fs::create_dir_all(&this).unwrap();
        fs::write(this.join(program("xtask")), "first").unwrap();
        let name = |compiler: &Compiler| compiler.program.clone();
        let first = Compiler::install(&workspace).unwrap();

        fs::write(this.join(program("xtask")), "second").unwrap();
        let second = Compiler::install(&workspace).unwrap();
        assert_eq!(name(&first), name(&second));
        assert_eq!(fs::read_to_string(name(&second)).unwrap(), "second");

        fs::remove_dir_all(Unit::folder(&workspace)).unwrap();
        assert_ne!(name(&first), name(&Compiler::install(&workspace).unwrap()));
    }

    #[test]
    fn what_cargo_sets_for_a_unit_is_told_from_what_it_has_inherited() {
        let inherited = ["HOME", "CARGO_PKG_NAME", "CARGO_MAKEFLAGS"];
        let given = ["CARGO_PKG_NAME", "OUT_DIR", "OF_A_BUILD_SCRIPT"];
        assert!(given.iter().all(|name| is_given(name, &inherited)));
        assert!(!["HOME", "CARGO_MAKEFLAGS", UNITS].iter().any(|name| is_given(name, &inherited)));
    }

    #[test]
    fn the_documentation_is_written_with_the_options_of_its_tests() {
        let test = "--crate-name x --test src/lib.rs --test-run-directory /x --test-args y --extern a=a.rlib";
        let written = documentation(&words(test)).unwrap();
        assert_eq!(written[..5], words("--crate-name x src/lib.rs --extern a=a.rlib"));
        assert!(written.ends_with(&words("--output-format json")));
        assert_eq!(documentation(&words("--crate-name x src/lib.rs")), None);
    }
}
