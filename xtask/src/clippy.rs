//! Checks the crates of this repository with Clippy, from what [the compiler](crate::compiler) has noted of each unit that it compiled.
//!
//! Clippy reads the dependencies as they were compiled for the tests, and its own result is not used: as a compiler, it leaves out
//! the checks of null and unaligned pointers (`config` in the driver.rs of Clippy).

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use xshell::cmd;

use crate::{fuzz, steps, workspace::Workspace};

/// One call of the compiler: a target of a package, with or without its unit tests.
#[derive(Debug)]
pub(crate) struct Unit {
    /// `NAME.json` in the folder of all units. Beside it, `NAME.passed` has Clippy's configuration with which it had no warning.
    file: PathBuf,
    folder: PathBuf,
    source: PathBuf,
    compiler: String,
    words: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Unit {
    /// The folder of all units.
    pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
        workspace.target.join("units")
    }

    /// Notes how a unit was compiled, in the current folder. A unit that is compiled again replaces itself. A query of Cargo, and what a
    /// test compiles elsewhere, is not noted.
    pub(crate) fn note(
        compiler: &OsStr,
        words: &[OsString],
        environment: Vec<(String, String)>,
        units: &Path,
    ) -> Result<()> {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let target = units.parent().unwrap_or(units);
        let (Some(out), Some(source)) = (
            words.iter().skip_while(|word| *word != "--out-dir").nth(1),
            words.iter().find(|word| word.ends_with(".rs")),
        ) else {
            return Ok(());
        };
        if !Path::new(out).starts_with(target) {
            return Ok(());
        }
        let folder = env::current_dir()?;
        let file = units.join(file_name(source, words.iter().any(|word| word == "--test")));
        let unit = json!({
            "folder": folder, "source": source, "compiler": compiler.to_string_lossy(), "words": words, "environment": environment,
        });
        fs::create_dir_all(units)?;
        remove(&file.with_extension("passed"))?;
        fs::write(&file, unit.to_string()).with_context(|| format!("cannot write {}", file.display()))
    }

    fn read(file: PathBuf) -> Result<Self> {
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let unit: Value = serde_json::from_slice(&text)?;
        let text = |name: &str| unit[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            folder: text("folder").into(),
            source: text("source").into(),
            compiler: text("compiler"),
            words: serde_json::from_value(unit["words"].clone())?,
            environment: serde_json::from_value(unit["environment"].clone())?,
            file,
        })
    }

    /// Checks the unit. For a program with unit tests, of which Cargo has compiled nothing else, also the program without them. Returns
    /// Clippy's words if it has found something.
    fn check(&self, gives_way: bool) -> Result<Option<String>> {
        let mut found = self.run(self.words(true), gives_way)?;
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let program = self.environment.iter().any(|(name, _)| name == "CARGO_BIN_NAME");
        if let Some(name) = name.strip_suffix("-test")
            && program
            && !self.file.with_file_name(format!("{name}.json")).exists()
        {
            found += &self.run(self.words(false), gives_way)?;
        }
        Ok((!found.is_empty()).then_some(found))
    }

    fn run(&self, words: Vec<String>, gives_way: bool) -> Result<String> {
        let mut command = Command::new("clippy-driver");
        command.arg(&self.compiler).args(words).current_dir(&self.folder);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("CARGO_MAKEFLAGS");
        if gives_way {
            command = steps::nice(&command);
        }
        let output =
            command.output().context("cannot start clippy-driver: run `rustup component add clippy`")?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => Ok(String::new()),
            false if text.is_empty() => bail!("{command:?}: {}", output.status),
            false => Ok(text),
        }
    }

    /// The compiler's words for Clippy: it writes the types alone, to a folder of its own, and its messages for people.
    fn words(&self, with_tests: bool) -> Vec<String> {
        let units = self.file.parent().unwrap_or(&self.file);
        let mut changed = Vec::new();
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if word.starts_with("--emit=") {
                changed.push("--emit=metadata".to_owned());
            } else if word == "--out-dir" {
                changed.extend([word.clone(), units.join("types").display().to_string()]);
                words.next();
            } else if word.starts_with("incremental=") {
                changed.push(format!("incremental={}", units.join("incremental").display()));
            } else if word == "--test" && !with_tests {
                changed.extend(["--crate-type", "bin"].map(str::to_owned));
            } else if !word.starts_with("--json=") && !word.starts_with("--error-format=") {
                changed.push(word.clone());
            }
        }
        let package = self.environment.iter().find(|(name, _)| name == "CARGO_PKG_NAME");
        let fuzzed = package.map_or(&[][..], |(_, package)| fuzz::flags_of(package));
        changed.extend(["-D", "warnings"].iter().chain(fuzzed).map(|&word| word.to_owned()));
        changed
    }
}

/// The name of the file of a unit, from the path of its first source file.
fn file_name(source: &str, test: bool) -> String {
    let plain = |character: char| if character.is_alphanumeric() { character } else { '-' };
    let name: String = source.chars().map(plain).collect();
    format!("{name}{}.json", if test { "-test" } else { "" })
}

/// Checks that each target of the workspace was compiled.
///
/// # Errors
///
/// Fails with the targets of which there is no unit.
pub(crate) fn check_is_complete(workspace: &Workspace) -> Result<()> {
    let sh = workspace.shell()?;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    let missing = missing(&serde_json::from_str(&metadata)?, workspace);
    ensure!(
        missing.is_empty(),
        "no step has compiled {}, so Clippy cannot check it: name programs in CHECKED of xtask/src/test.rs",
        missing.join(", ")
    );
    Ok(())
}

fn missing(metadata: &Value, workspace: &Workspace) -> Vec<String> {
    let units = Unit::folder(workspace);
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let sources = targets.filter_map(|target| {
        let source = Path::new(target["src_path"].as_str()?);
        let source = source.strip_prefix(&workspace.root).unwrap_or(source).to_str()?;
        let compiled = |test| units.join(file_name(source, test)).exists();
        // The guard's programs need a feature that exists for Linux alone. Cargo compiles a library for others, besides its unit tests.
        let elsewhere = !cfg!(target_os = "linux") && target["required-features"].is_array();
        let is_compiled = compiled(false) || (target["kind"][0] != "lib" && compiled(true));
        (!elsewhere && !is_compiled).then(|| source.to_owned())
    });
    sources.collect()
}

/// Checks all units that were compiled since they were checked last, or all if Clippy's configuration has changed.
///
/// # Errors
///
/// Fails with all that Clippy says.
pub(crate) fn check(workspace: &Workspace, gives_way: bool) -> Result<()> {
    let configuration = fs::read_to_string(workspace.root.join("clippy.toml"))?;
    let mut units = Vec::new();
    for entry in fs::read_dir(Unit::folder(workspace)).context("no unit was compiled")? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let unit = Unit::read(file)?;
        if !unit.folder.join(&unit.source).is_file() {
            // The target was removed or renamed.
            remove(&unit.file)?;
        } else if fs::read_to_string(unit.file.with_extension("passed")).ok().as_ref() != Some(&configuration)
        {
            units.push(unit);
        }
    }
    let waiting = Mutex::new(units.into_iter());
    let found = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || -> Result<()> {
        while let Some(unit) = next() {
            match unit.check(gives_way)? {
                None => fs::write(unit.file.with_extension("passed"), &configuration)?,
                Some(words) => found.lock().unwrap_or_else(PoisonError::into_inner).push(words),
            }
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker has panicked"))
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A file that two targets have in common is reported twice.
    found.sort();
    found.dedup();
    if found.is_empty() { Ok(()) } else { bail!("{}", found.join("\n")) }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with one program, and the words with which Cargo compiles it or its tests.
    fn program(folder: &Path, options: &str) -> (Workspace, Vec<OsString>) {
        let workspace = Workspace { root: folder.to_owned(), target: folder.join("target") };
        fs::write(folder.join("clippy.toml"), "").unwrap();
        let (source, out) = (folder.join("main.rs"), workspace.target.join("debug"));
        let words = format!(
            "--crate-name main {options} --error-format=json --json=artifacts --emit=dep-info,link --out-dir"
        );
        let words = words.split_whitespace().map(OsString::from);
        (workspace, words.chain([out.into(), source.into()]).collect())
    }

    fn note(workspace: &Workspace, words: &[OsString], variables: &[(&str, &str)]) {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Unit::note(OsStr::new("rustc"), words, environment, &Unit::folder(workspace)).unwrap();
    }

    #[test]
    fn what_was_compiled_is_checked_until_it_passes() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, words) = program(folder.path(), "--crate-type bin");
        let source = folder.path().join("main.rs");
        fs::write(&source, "fn main() {\n    let _ = \"\".len() == 0;\n}\n").unwrap();
        note(&workspace, &words, &[]);
        for _ in 0..2 {
            let found = check(&workspace, false).unwrap_err().to_string();
            assert!(found.contains("clippy::len_zero"), "{found}");
        }
        fs::write(&source, "fn main() {}\n").unwrap();
        check(&workspace, false).unwrap();

        // It was not compiled again: there is nothing to check.
        fs::write(&source, "fn main() { let unused = 1; }\n").unwrap();
        check(&workspace, false).unwrap();
        fs::write(folder.path().join("clippy.toml"), "avoid-breaking-exported-api = false\n").unwrap();
        assert!(check(&workspace, false).unwrap_err().to_string().contains("unused variable"));
        fs::remove_file(source).unwrap();
        check(&workspace, false).unwrap();
    }

    #[test]
    fn a_program_with_tests_is_checked_without_them_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, words) = program(folder.path(), "--test");
        let text = "fn main() {}\nfn used_by_a_test() {}\n#[test]\nfn test() {\n    used_by_a_test();\n}\n";
        fs::write(folder.path().join("main.rs"), text).unwrap();
        note(&workspace, &words, &[]);
        check(&workspace, false).unwrap();
        note(&workspace, &words, &[("CARGO_BIN_NAME", "main")]);
        let found = check(&workspace, false).unwrap_err().to_string();
        assert!(found.contains("`used_by_a_test` is never used"), "{found}");
    }

    #[test]
    fn a_target_that_was_not_compiled_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, words) = program(folder.path(), "--test");
        let target = |kind: &str| {
            let source = folder.path().join("main.rs");
            json!({"packages": [{"targets": [{"kind": [kind], "src_path": source}]}]})
        };
        assert_eq!(missing(&target("bin"), &workspace), ["main.rs"]);
        let relative = words.split_last().unwrap().1.iter().cloned().chain(["main.rs".into()]);
        note(&workspace, &relative.collect::<Vec<_>>(), &[]);
        assert_eq!(missing(&target("bin"), &workspace), [""; 0]);
        assert_eq!(missing(&target("lib"), &workspace), ["main.rs"]);
    }

    #[test]
    fn what_is_compiled_elsewhere_is_not_noted() {
        let folder = tempfile::tempdir().unwrap();
        let (workspace, words) = program(folder.path(), "");
        let elsewhere = Workspace { target: folder.path().join("elsewhere"), ..workspace };
        note(&elsewhere, &words, &[]);
        assert!(!Unit::folder(&elsewhere).exists());
    }
}
