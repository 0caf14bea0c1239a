//! Runs the tools that build.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Why a program was not made: what happened, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// This machine or this declaration cannot make it; nothing was tried.
    Refused(String),
    /// A tool failed, or the result is wrong.
    Failed(String),
}

impl Failure {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// A failed operation on a file.
    pub(super) fn file<'a>(
        doing: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |error| Self::Failed(format!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(message) | Self::Failed(message)) = self;
        f.write_str(message)
    }
}

/// The lines of a failed tool's output that a message repeats.
const LINES: usize = 30;

/// Runs a tool until it has ended, and returns its stdout. Its stdin is empty.
pub(super) fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let words = words(command);
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        Failure::Failed(format!("cannot run `{words}`: {error}; install it, or put it on the PATH"))
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let (stderr, stdout) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<_> = text.trim_end().lines().collect();
    let shown = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    Err(Failure::Failed(format!("`{words}` failed ({}):\n  {shown}", output.status)))
}

/// The stdout of a tool as one trimmed text.
pub(super) fn read(command: &mut Command) -> Result<String, Failure> {
    run(command).map(|stdout| String::from_utf8_lossy(&stdout).trim().to_owned())
}

fn words(command: &Command) -> String {
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

/// Looks a program up in these folders, in the order of the `PATH`. On Windows, a name without an ending is that of an `.exe`.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    find_in(name, &env::var_os("PATH")?)
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    let file: OsString =
        if cfg!(windows) && !name.contains('.') { format!("{name}.exe").into() } else { name.into() };
    env::split_paths(path).map(|folder| folder.join(&file)).find(|candidate| candidate.is_file())
}

/// The program that a declared command names, which runs in this folder.
pub(super) fn declared(name: &str, folder: &Path) -> PathBuf {
    if !cfg!(windows) {
        // The new process resolves a relative path itself, in its folder.
        return name.into();
    }
    on_windows(name, folder, &env::var_os("PATH").unwrap_or_default())
}

/// On Windows the system appends `.exe` alone, while npm and many others are `.cmd` files; and it resolves a relative path in the folder of this
/// process.
fn on_windows(name: &str, folder: &Path, path: &OsStr) -> PathBuf {
    let is_path = name.contains(['/', '\\']);
    let folders: Vec<_> = if is_path { vec![folder.to_owned()] } else { env::split_paths(path).collect() };
    // A file without an ending is for other systems.
    let suffixes =
        ["", ".exe", ".cmd", ".bat"].into_iter().skip(usize::from(Path::new(name).extension().is_none()));
    let mut files = folders
        .iter()
        .flat_map(|folder| suffixes.clone().map(|suffix| folder.join(format!("{name}{suffix}"))));
    let found = files.find(|file| file.is_file());
    found.unwrap_or_else(|| if is_path { folder.join(name) } else { name.into() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_command_on_windows_may_be_a_batch_file_and_begins_in_its_folder() {
        let (own, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, tools) = (own.path(), tools.path());
        for file in ["build", "build.cmd", "tool.exe", "tool.cmd", "python3.12.exe", "make.bat"] {
            for folder in [own, tools] {
                fs::write(folder.join(file), "").unwrap();
            }
        }
        for (name, found) in [
            ("build", tools.join("build.cmd")),
            ("tool", tools.join("tool.exe")),
            ("tool.cmd", tools.join("tool.cmd")),
            ("python3.12", tools.join("python3.12.exe")),
            ("./make", own.join("./make.bat")),
            ("./build", own.join("./build.cmd")),
            ("./absent", own.join("./absent")),
            ("absent", "absent".into()),
        ] {
            assert_eq!(on_windows(name, own, tools.as_os_str()), found, "{name}");
        }
    }

    #[test]
    fn a_failed_tool_is_named_with_its_arguments_and_its_last_lines() {
        let failure = run(Command::new(env::current_exe().unwrap()).arg("--no-such-option")).unwrap_err();
        let message = failure.to_string();
        assert!(message.contains("--no-such-option` failed (exit"), "{message}");
        assert!(message.contains("\n  "), "{message}");
    }

    #[test]
    fn a_missing_tool_is_an_error_with_a_cure() {
        let failure = run(&mut Command::new("no-such-tool-of-pillion")).unwrap_err();
        assert!(failure.to_string().contains("put it on the PATH"), "{failure}");
        assert_eq!(find("no-such-tool-of-pillion"), None);
    }
}
