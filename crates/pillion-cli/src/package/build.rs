//! How each tool builds the program of a sidecar.

mod bun;
mod command;
mod go;
mod node;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use pillion_config::{PackageConfig, PackageTool};

use super::{cache::Inputs, npm::NpmCache, process::Failure};
use crate::project::TargetTriple;

/// One program to build.
pub(super) struct Order<'a> {
    /// The name of the sidecar.
    pub(super) sidecar: &'a str,
    /// The name of the program, without target triple and suffix.
    pub(super) program: &'a str,
    /// Never the universal target: its two programs are built, and then joined.
    pub(super) target: &'a TargetTriple,
    pub(super) config: &'a PackageConfig,
    /// The folder that the paths of the declaration are relative to.
    pub(super) root: &'a Path,
    /// An empty folder for everything that the build writes.
    pub(super) work: &'a Path,
    pub(super) npm: &'a NpmCache,
    /// Says what happens at the moment.
    pub(super) progress: &'a dyn Fn(&str),
}

/// A program that was built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) artifact: Artifact,
    pub(super) inputs: Inputs,
    /// Whether the program is a copy of a JavaScript runtime. The runtime was signed, which no longer fits, and it compiles code while
    /// it runs, which macOS allows with entitlements only.
    pub(super) embeds_runtime: bool,
}

/// Where the program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Artifact {
    File(PathBuf),
    /// A folder that contains the program, and the files that it needs.
    Folder {
        folder: PathBuf,
        program: PathBuf,
    },
}

impl Artifact {
    pub(super) fn program(&self) -> &Path {
        match self {
            Self::File(program) | Self::Folder { program, .. } => program,
        }
    }
}

impl Order<'_> {
    /// The versions of the tools, and what else the program depends on besides its inputs. Fails if this machine cannot build it.
    pub(super) fn fingerprint(&self, tool: PackageTool<'_>) -> Result<String, Failure> {
        match tool {
            PackageTool::Rust { folder, .. } => rust::fingerprint(self, folder),
            PackageTool::Node { main, version } => node::fingerprint(self, main, version),
            PackageTool::Bun { main } => bun::fingerprint(self, main),
            PackageTool::Go { folder } => go::fingerprint(self, folder),
            PackageTool::Python { main, .. } => python::fingerprint(self, main),
            PackageTool::Command { .. } => Ok(String::new()),
            _ => Err(Failure::refused(UNKNOWN)),
        }
    }

    /// Builds the program.
    pub(super) fn build(&self, tool: PackageTool<'_>) -> Result<Built, Failure> {
        let mut built = match tool {
            PackageTool::Rust { folder, bin } => rust::build(self, folder, bin),
            PackageTool::Node { main, version } => node::build(self, main, version),
            PackageTool::Bun { main } => bun::build(self, main),
            PackageTool::Go { folder } => go::build(self, folder),
            PackageTool::Python { main, onedir } => python::build(self, main, onedir),
            PackageTool::Command { command, cwd } => command::build(self, command, cwd),
            _ => Err(Failure::refused(UNKNOWN)),
        }?;
        built.inputs.folders.extend(self.config.inputs.iter().map(|input| self.root.join(input)));
        Ok(built)
    }

    /// A path of the declaration.
    fn path(&self, field: &str, path: &str) -> Result<PathBuf, Failure> {
        let found = self.root.join(path);
        // Without the verbatim prefix of Windows, which other tools do not understand.
        dunce::canonicalize(&found).map_err(|error| {
            Failure::refused(format!(
                "plugins.pillion.sidecars.{}.package.{field} is {path:?}, and {} cannot be opened: {error}; the path is relative \
                 to {}",
                self.sidecar,
                found.display(),
                self.root.display()
            ))
        })
    }

    /// A file in the folder for the build.
    fn output(&self) -> PathBuf {
        self.work.join(format!("{}{}", self.program, self.target.executable_suffix()))
    }
}

const UNKNOWN: &str =
    "this version of `pillion package` does not know the tool of the declaration: update it";

/// The sentence about the way to build for a target that this machine cannot build for.
fn elsewhere(target: &TargetTriple) -> String {
    let system = match target.platform() {
        Some(crate::project::Platform::MacOs) => "on macOS",
        Some(crate::project::Platform::Windows) => "on Windows",
        Some(crate::project::Platform::Linux) => "on Linux with that processor",
        None => "on that system",
    };
    format!("run `pillion package` {system}, for example in the CI workflow that `pillion ci github` writes")
}

/// These files of the folder and of each folder above it, whether they exist or not.
fn files_above(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    folder.ancestors().flat_map(|above| names.iter().map(|name| above.join(name))).collect()
}
