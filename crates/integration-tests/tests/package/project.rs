//! A Tauri project on disk, and `pillion package` in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The target of this machine, as `rustc -vV` prints it.
pub(crate) fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// A folder of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap()
}

/// A project with one sidecar, `backend`.
pub(crate) struct Project(TempDir);

/// What `pillion package` printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Packaged {
    pub(crate) status: i32,
    pub(crate) report: Value,
    pub(crate) stderr: String,
}

impl Project {
    /// A project whose sidecar has these fields.
    pub(crate) fn new(declaration: &Value) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.declare(declaration);
        project.write("src-tauri/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\n");
        project
    }

    pub(crate) fn declare(&self, declaration: &Value) {
        let configuration = json!({
            "identifier": "dev.pillion.test",
            "bundle": { "externalBin": ["binaries/backend"] },
            "plugins": { "pillion": { "sidecars": { "backend": declaration } } },
        });
        self.write("src-tauri/tauri.conf.json", &configuration.to_string());
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The program for a target.
    pub(crate) fn program(&self, target: &str) -> PathBuf {
        let suffix = if target.contains("windows") { ".exe" } else { "" };
        self.path(&format!("src-tauri/binaries/backend-{target}{suffix}"))
    }

    /// The command `pillion package --json` in the project.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillion-under-test"));
        command
            .args(["package", "--json"])
            .current_dir(self.0.path())
            // Downloaded once for all tests.
            .env("PILLION_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("pillion-cache"))
            .env_remove("TAURI_ENV_TARGET_TRIPLE");
        command
    }

    /// Runs `pillion package --json` with these arguments.
    pub(crate) fn package(&self, arguments: &[&str]) -> Packaged {
        let output = self.command().args(arguments).output().unwrap();
        Packaged {
            status: output.status.code().unwrap(),
            report: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Packaged {
    /// The only file. Fails if something else happened.
    pub(crate) fn file(&self) -> &Value {
        let files = self.report["files"].as_array().unwrap_or_else(|| panic!("no report: {self:?}"));
        assert_eq!((self.status, files.len()), (0, 1), "{self:?}");
        &files[0]
    }

    /// The message of the only problem.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.status, 1, "{self:?}");
        self.report["problems"][0]["message"].as_str().unwrap_or_else(|| panic!("no problem: {self:?}"))
    }
}
