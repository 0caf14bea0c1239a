//! Builds the measured programs: release programs, the front end in its bench mode, and the example backend.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use virtual_display::Xvfb;

use super::{collector, progress};

/// The repository and its build folder.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    target: PathBuf,
    /// Built once, on demand.
    apps: OnceCell<Apps>,
}

/// The programs without a webview.
#[derive(Debug)]
pub(crate) struct BuiltPrograms {
    pub(crate) backend: PathBuf,
    pub(crate) pillion: PathBuf,
}

/// The programs that start a sidecar for the comparison with peers.
#[derive(Debug)]
pub(crate) struct PeerPrograms {
    pub(crate) pillion: PathBuf,
    /// The app that starts a program by tauri-plugin-shell.
    pub(crate) shell_app: PathBuf,
    pub(crate) display: Xvfb,
}

/// The apps, each in a folder with its sidecars.
#[derive(Debug)]
pub(crate) struct Apps {
    pub(crate) aios: PathBuf,
    pub(crate) empty_shell: PathBuf,
}

/// The example backend on Node.
#[derive(Debug)]
pub(crate) struct Hono {
    node: PathBuf,
    script: PathBuf,
    packages: [PathBuf; 2],
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let text = output(Command::new("cargo").args(["metadata", "--format-version=1", "--no-deps"]))?;
        let metadata: Value = serde_json::from_str(&text)?;
        let folder = |key: &str| {
            metadata[key].as_str().map(PathBuf::from).with_context(|| format!("cargo names no {key}"))
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
            apps: OnceCell::new(),
        })
    }

    /// The folder of the report and of the built apps.
    pub(crate) fn results(&self) -> Result<PathBuf> {
        let folder = self.target.join("bench");
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub(crate) fn programs(&self) -> Result<BuiltPrograms> {
        // As `cargo xtask sidecar --release` builds it.
        self.cargo(&["--package", "aios-backend", "--config", "apps/backend/release.toml"], &[])?;
        self.cargo(&["--package", "pillion-cli"], &[])?;
        let built = |name: &str| self.target.join("release").join(name);
        Ok(BuiltPrograms { backend: built("backend"), pillion: built("pillion") })
    }

    pub(crate) fn peer_programs(&self) -> Result<PeerPrograms> {
        Ok(PeerPrograms {
            pillion: self.programs()?.pillion,
            shell_app: self.routes()?,
            display: Xvfb::start(super::app::SCREEN)?,
        })
    }

    /// The smallest program that announces and answers. Its source describes its steps.
    pub(crate) fn fake_sidecar(&self) -> Result<PathBuf> {
        self.cargo(&["--package", "integration-tests", "--bin", "fake-sidecar"], &[])?;
        Ok(self.target.join("release/fake-sidecar"))
    }

    pub(crate) fn hono(&self) -> Result<Hono> {
        let node = output(Command::new("node").args(["--print", "process.execPath"])).context("no node")?;
        self.npm(&["run", "build", "--workspace", "examples/hono-backend"], &[])?;
        Ok(Hono {
            node: node.trim().into(),
            script: self.root.join("examples/hono-backend/dist/index.js"),
            packages: [self.root.join("node_modules/hono"), self.root.join("sdk/node/dist")],
        })
    }

    /// AIOS as it ships, except that its page reports to the collector, and the empty shell.
    pub(crate) fn apps(&self) -> Result<&Apps> {
        if let Some(apps) = self.apps.get() {
            return Ok(apps);
        }
        let apps = self.build_apps()?;
        Ok(self.apps.get_or_init(|| apps))
    }

    fn build_apps(&self) -> Result<Apps> {
        let backend = self.programs()?.backend;
        let folder = self.results()?.join("app");
        fs::create_dir_all(&folder)?;
        let page = self.page(&folder.join("page"))?;
        // The build copies no sidecar: the one in the source folder may be a debug build.
        let config =
            json!({ "build": { "frontendDist": page }, "bundle": { "externalBin": [] } }).to_string();
        // One command for both, so that Cargo builds Tauri once.
        let features = "aios/custom-protocol,empty-shell/custom-protocol";
        let arguments = ["--package", "aios", "--package", "empty-shell", "--features", features];
        self.cargo(&arguments, &[("TAURI_CONFIG", &config)])?;
        // Sidecars lie beside their app. The app is moved, because it is not the AIOS that ships.
        let place = |name: &str| folder.join(name);
        let built = |name: &str| self.target.join("release").join(name);
        fs::rename(built("aios"), place("aios"))?;
        fs::rename(built("empty-shell"), place("empty-shell"))?;
        fs::copy(backend, place("aios-backend"))?;
        Ok(Apps { aios: place("aios"), empty_shell: place("empty-shell") })
    }

    /// The front end in its bench mode, and the page of the empty shell.
    fn page(&self, folder: &Path) -> Result<PathBuf> {
        let marks = collector::address("mark");
        let build = ["run", "build:bench", "--workspace", "apps/desktop"];
        self.npm(&build, &[("VITE_BENCH_COLLECTOR", &marks)])?;
        // Both apps embed the pages of both, because one build has one configuration.
        let sources = ["apps/desktop/dist-bench", "apps/empty-shell/page"].map(|part| self.root.join(part));
        copy_folders(&sources, folder)?;
        Ok(folder.to_owned())
    }

    /// The app that measures the routes to a sidecar, in a folder with the sidecar.
    pub(crate) fn routes(&self) -> Result<PathBuf> {
        let folder = self.results()?.join("routes");
        fs::create_dir_all(&folder)?;
        self.npm(&["run", "build", "--workspace", "apps/routes"], &[])?;
        let page = folder.join("page");
        copy_folders(&[self.root.join("apps/routes/dist")], &page)?;
        let config = json!({ "build": { "frontendDist": page } }).to_string();
        self.cargo(
            &["--package", "routes", "--features", "routes/custom-protocol,routes/shell-peer"],
            &[("TAURI_CONFIG", &config)],
        )?;
        let streams = ["--package", "end-to-end-tests", "--bin", "streams"];
        self.cargo(&streams, &[])?;
        for name in ["routes", "streams"] {
            fs::copy(self.target.join("release").join(name), folder.join(name))?;
        }
        Ok(folder.join("routes"))
    }

    fn cargo(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new("cargo");
        command.args(["build", "--release"]).args(arguments).env("CARGO_TARGET_DIR", &self.target);
        self.build(&mut command, environment)
    }

    fn npm(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
        if !self.root.join("node_modules").is_dir() {
            self.build(Command::new("npm").arg("ci"), &[])?;
        }
        self.build(Command::new("npm").args(arguments), environment)
    }

    fn build(&self, command: &mut Command, environment: &[(&str, &str)]) -> Result<()> {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        progress(&format!("building: {} {}", command.get_program().display(), words.join(" ")));
        output(command.current_dir(&self.root).envs(environment.iter().copied())).map(drop)
    }
}

impl Hono {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.script);
        command
    }

    /// The size of all files that it needs to run, in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        let mut size = fs::metadata(&self.node)?.len();
        for folder in self.script.parent().into_iter().chain(self.packages.iter().map(PathBuf::as_path)) {
            size += folder_size(folder)?;
        }
        Ok(size)
    }
}

/// Runs a command, and returns its stdout. On failure the error holds the last error line of its stderr.
fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason =
        text.lines().rev().find(|line| line.starts_with("error")).or_else(|| text.lines().next_back());
    bail!("{program} failed: {}", reason.unwrap_or("without a message"))
}

/// The files in a folder and its subfolders, by their relative paths.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn read_folder(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if entry.file_type()?.is_dir() {
            let below = read_folder(&entry.path())?;
            files.extend(below.into_iter().map(|(path, bytes)| (name.join(path), bytes)));
        } else {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// Makes `to` hold what these folders do. Left alone where nothing has changed, since Cargo would compile the app anew.
fn copy_folders(from: &[PathBuf], to: &Path) -> Result<()> {
    let mut files = Files::new();
    for folder in from {
        files.extend(read_folder(folder)?);
    }
    if read_folder(to).ok().as_ref() != Some(&files) {
        write_folder(to, &files)?;
    }
    Ok(())
}

/// Writes these files into `folder`, and deletes all others there.
fn write_folder(folder: &Path, files: &Files) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn folder_size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() { folder_size(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
