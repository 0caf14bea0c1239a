//! `pillion package`: builds the programs of the sidecars for the bundles of the app.

mod build;
mod cache;
mod finish;
mod npm;
mod onedir;
mod plan;
mod process;
mod progress_bars;
mod report;
mod smoke_test;
mod target;

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Args as ClapArgs;
use pillion_config::PackageTool;

use self::{
    build::{Artifact, Built, Order},
    cache::{CheckResult, Inputs, OutputFile, Stamp, digest},
    npm::NpmCache,
    plan::{Destination, Planned},
    process::Failure,
    progress_bars::ProgressBars,
    report::{MadeFile, MadeFolder, Problem, Report},
};
use crate::{
    binary::mach_o,
    project::{DeclaredSidecar, Project, TargetTriple},
};

/// Build the programs of the sidecars, as the bundler of Tauri expects them: `src-tauri/binaries/NAME-<target triple>[.exe]`.
///
/// Each sidecar says in its declaration how it is built, in `package`: with Cargo, as a single executable application of Node, with
/// Bun, Go or PyInstaller, or by any command. docs/package.md describes each way. Node, Bun, esbuild and postject come from npm if
/// the project has none, in exact versions, into a cache of your user (the variable `PILLION_CACHE` names another folder).
///
/// Programs for macOS get a valid ad-hoc signature; those of Node and Bun also the entitlements that they need. A program that this
/// machine can run is started and checked, as by `pillion check --musts`, before it is put into place. A program is built again only
/// if one of its inputs, the way it is built or its tools have changed.
///
/// Exit status: 0 if all programs are in place, 1 if a program could not be made, 2 if the command line or the project is wrong.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The sidecars to build; all that have `package` by default.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The target triple to build for; may be repeated. `universal-apple-darwin` makes all three files that its bundle needs. The
    /// default is that of the running `tauri build` (`TAURI_ENV_TARGET_TRIPLE`), or else this machine.
    #[arg(long, value_name = "TRIPLE")]
    target: Vec<TargetTriple>,
    /// A folder of the project; the current one by default.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// Build again, even if nothing has changed.
    #[arg(long)]
    force: bool,
    /// Do not start and check the programs that this machine can run.
    #[arg(long)]
    no_check: bool,
    /// Write the report to stdout as one JSON object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  The programs for this machine:
    pillion package
  For three systems, from one machine (Node, Bun, Go; Rust where its target is installed):
    pillion package --target x86_64-unknown-linux-gnu --target aarch64-apple-darwin --target x86_64-pc-windows-msvc
  In tauri.conf.json, so that `tauri build` makes what it bundles:
    \"beforeBuildCommand\": \"npm run build && pillion package\"
  Ways to build, in the declaration of a sidecar (plugins.pillion.sidecars.NAME):
    \"package\": { \"rust\": \"backend\" }
    \"package\": { \"node\": \"backend/src/index.ts\" }
    \"package\": { \"bun\": \"backend/src/index.ts\" }
    \"package\": { \"go\": \"backend\" }
    \"package\": { \"python\": \"backend/main.py\" }
    \"package\": { \"command\": [\"make\", \"OUT=${output}\", \"TARGET=${target}\"], \"cwd\": \"backend\" }";

const WRONG_USAGE: u8 = 2;
/// The file with the digests, beside the programs. `sha256sum --check` reads it.
const SUMS: &str = "SHA256SUMS";
/// Set by `tauri build` for its hooks: <https://v2.tauri.app/reference/environment-variables/>.
const TARGET_OF_TAURI: &str = "TAURI_ENV_TARGET_TRIPLE";
/// Part of each recipe: a new number builds everything again.
const FORMAT: &str = concat!("1 pillion ", env!("CARGO_PKG_VERSION"));

pub(crate) fn main(args: Args) -> ExitCode {
    match package(&args) {
        Ok(report) if report.problems.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

fn package(args: &Args) -> Result<Report, String> {
    let project = Project::find(&args.project).map_err(|error| error.to_string())?;
    let planned = plan::plan(&project, &targets(args)?, &args.names)?;
    let work = work_folder(&project).map_err(|failure| failure.to_string())?;
    let npm = NpmCache::of_user().map_err(|failure| failure.to_string())?;
    let progress = ProgressBars::new(planned.len());
    let mut report = Report::default();
    for program in &planned {
        let show =
            |step: &str| progress.show(&format!("{} for {}: {step}", program.sidecar.name, program.target));
        let maker = Maker { args, project: &project, work: &work, npm: &npm, show: &show };
        match maker.make(program, &report.files) {
            Ok(file) => report.files.push(file),
            Err(failure) => report.problems.push(Problem {
                sidecar: program.sidecar.name.clone(),
                target: program.target.to_string(),
                refused: matches!(failure, Failure::Refused(_)),
                message: failure.to_string(),
            }),
        }
        progress.finished_one();
    }
    drop(progress);
    let sums: Vec<_> = planned
        .iter()
        .filter_map(|program| {
            let path = program.destination.program();
            let made = report.files.iter().find(|file| file.is(program))?;
            Some((path.clone(), made.sha256.clone()))
        })
        .collect();
    finish::write_sums(&sums).map_err(|failure| failure.to_string())?;
    let shown = if args.json {
        report::json(&report, io::stdout().lock())
    } else {
        report::text(&report, anstream::stdout().lock())
    };
    shown.and_then(|()| io::stdout().flush()).map_err(|error| format!("cannot write the report: {error}"))?;
    Ok(report)
}

/// The targets of the command line, of the running `tauri build`, or of this machine.
fn targets(args: &Args) -> Result<Vec<TargetTriple>, String> {
    if !args.target.is_empty() {
        return Ok(args.target.clone());
    }
    match env::var(TARGET_OF_TAURI) {
        Ok(triple) => triple.parse::<TargetTriple>().map_err(|error| format!("{TARGET_OF_TAURI}: {error}")),
        Err(_) => TargetTriple::host(),
    }
    .map(|target| vec![target])
}

/// Whether the last run made this file, and its inputs are still the same. The declaration and the tools may differ.
/// Never for a universal file: its stamp has no inputs, as it is joined from two others.
pub(crate) fn is_up_to_date(project: &Project, sidecar: &str, target: &TargetTriple, file: &Path) -> bool {
    let stamp = Stamp::read(&stamp_file(&work_path(&project.tauri), sidecar, target));
    !target.is_universal() && stamp.is_some_and(|stamp| stamp.is_current(&stamp.recipe, file).is_ok())
}

/// In the folder of the Tauri configuration. Part by part: a command of Windows takes a slash in a path for an option.
fn work_path(tauri: &Path) -> PathBuf {
    tauri.join("target").join("pillion")
}

fn stamp_file(work: &Path, sidecar: &str, target: &TargetTriple) -> PathBuf {
    work.join(format!("{sidecar}-{target}.json"))
}

/// The folder of stamps and of everything that the builds write.
fn work_folder(project: &Project) -> Result<PathBuf, Failure> {
    let folder = work_path(&project.tauri);
    fs::create_dir_all(&folder).map_err(Failure::file("make the folder", &folder))?;
    // Git ignores it, also in a project whose target folder is elsewhere.
    let ignore = folder.join(".gitignore");
    fs::write(&ignore, "*\n").map_err(Failure::file("write", &ignore))?;
    Ok(folder)
}

impl MadeFile {
    fn is(&self, program: &Planned) -> bool {
        self.sidecar == program.sidecar.name && self.target == program.target.as_str()
    }
}

/// Makes programs.
struct Maker<'a> {
    args: &'a Args,
    project: &'a Project,
    work: &'a Path,
    npm: &'a NpmCache,
    show: &'a dyn Fn(&str),
}

impl Maker<'_> {
    /// Makes one program, or finds that it is up to date. `made` are the files of this run so far.
    fn make(&self, program: &Planned, made: &[MadeFile]) -> Result<MadeFile, Failure> {
        let began = Instant::now();
        let Planned { sidecar, target, destination, .. } = program;
        let work = self.work.join(format!("{}-{target}", sidecar.name));
        let order = Order {
            sidecar: &sidecar.name,
            program: &program.program,
            target,
            config: &program.config,
            root: &self.project.root,
            work: &work,
            npm: self.npm,
            progress: self.show,
        };
        let tool = program.config.tool().map_err(Failure::refused)?;
        let recipe = self.recipe(program, made, &order, tool)?;
        let stamp_file = stamp_file(self.work, &sidecar.name, target);
        let reason = match self.stamp_of_current(program, &recipe, &stamp_file) {
            Ok(Stamp { output, check, .. }) => return Self::current(program, began, output, check.said),
            Err(reason) => reason,
        };
        if let Destination::Folder { folder, .. } = destination {
            onedir::check(folder, &sidecar.name)?;
        }
        let started = empty_folder(&work)?;
        let built = if target.is_universal() { join(program, made, &order)? } else { order.build(tool)? };
        let (artifact, notes) = finished(&built, program, &work)?;
        let check = self.check(artifact.program(), program)?;
        let said = check.said.clone();
        finish::place(&artifact, destination.path(), &sidecar.name)?;
        let output = OutputFile::of(destination.program())?;
        match Stamp::of(recipe, built.inputs, output.clone(), check, &started)? {
            Some(stamp) => stamp.write(&stamp_file)?,
            None => drop(fs::remove_file(&stamp_file)),
        }
        // The programs in it can have a hundred megabytes each.
        let _ = fs::remove_dir_all(&work);
        Ok(MadeFile { cached: false, reason, notes, ..Self::current(program, began, output, said)? })
    }

    /// A digest of what decides about the program, besides its inputs. A server in Python takes minutes to build, so that no other
    /// field of the declaration counts.
    fn recipe(
        &self,
        program: &Planned,
        made: &[MadeFile],
        order: &Order<'_>,
        tool: PackageTool<'_>,
    ) -> Result<String, Failure> {
        let Planned { sidecar, target, .. } = program;
        let fingerprint = if target.is_universal() {
            let parts = parts(program, made)?;
            parts.iter().map(|part| part.sha256.as_str()).collect::<Vec<_>>().join(" ")
        } else {
            order.fingerprint(tool)?
        };
        let declared = selected(sidecar, &["package", "program", "resource"]);
        Ok(digest(format!("{FORMAT} {target} {declared} {fingerprint}").as_bytes()))
    }

    /// A digest of how the check starts the program.
    fn check_recipe(&self, program: &Planned) -> String {
        let checks = !self.args.no_check;
        let fields = ["args", "env", "port", "ready", "health", "transport", "private"];
        digest(format!("{FORMAT} {checks} {}", selected(&program.sidecar, &fields)).as_bytes())
    }

    /// The stamp of a program that is up to date. Otherwise says why it is not, if an earlier run has made it.
    fn stamp_of_current(
        &self,
        program: &Planned,
        recipe: &str,
        stamp_file: &Path,
    ) -> Result<Stamp, Option<String>> {
        let Planned { sidecar, destination, .. } = program;
        let mut stamp = Stamp::read(stamp_file).filter(|_| !self.args.force).ok_or(None::<String>)?;
        stamp.is_current(recipe, destination.program())?;
        destination.is_whole(&sidecar.name)?;
        if stamp.check.recipe == self.check_recipe(program) {
            return Ok(stamp);
        }
        // A program that fails the new check is built again: that reports the failure.
        let changed = || Some("the declaration has changed".to_owned());
        stamp.check = self.check(destination.program(), program).map_err(|_| changed())?;
        stamp.write(stamp_file).map_err(|_| changed())?;
        Ok(stamp)
    }

    fn check(&self, file: &Path, program: &Planned) -> Result<CheckResult, Failure> {
        let said = if self.args.no_check {
            "not started: --no-check".to_owned()
        } else if target::runs_here(&program.target) {
            (self.show)("starting and checking it");
            smoke_test::check(file, &program.sidecar)?
        } else {
            "not started: this machine does not run programs of this target".to_owned()
        };
        Ok(CheckResult { said, recipe: self.check_recipe(program) })
    }

    /// A file that is up to date.
    fn current(
        program: &Planned,
        began: Instant,
        output: OutputFile,
        check: String,
    ) -> Result<MadeFile, Failure> {
        let folder = match &program.destination {
            Destination::File(_) => None,
            Destination::Folder { folder, .. } => {
                let (files, bytes) = onedir::size(folder, &program.sidecar.name)?;
                Some(MadeFolder { path: Project::shown(folder), bytes, files })
            }
        };
        Ok(MadeFile {
            sidecar: program.sidecar.name.clone(),
            target: program.target.to_string(),
            path: Project::shown(program.destination.program()),
            bytes: output.bytes,
            sha256: output.sha256,
            folder,
            cached: true,
            reason: None,
            notes: Vec::new(),
            check,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// These fields of a declaration.
fn selected(sidecar: &DeclaredSidecar, fields: &[&str]) -> serde_json::Value {
    fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), sidecar.fields.get(*field)?.clone())))
        .collect()
}

/// The two files that a universal one contains.
fn parts<'a>(program: &Planned, made: &'a [MadeFile]) -> Result<Vec<&'a MadeFile>, Failure> {
    let needed = program.target.needed();
    let parts = needed.iter().filter(|target| !target.is_universal()).map(|target| {
        let of = |file: &&MadeFile| file.sidecar == program.sidecar.name && file.target == target.as_str();
        made.iter().find(of).ok_or_else(|| Failure::refused(format!("its part for {target} was not made")))
    });
    parts.collect()
}

/// Joins the two programs to a universal one. Their signatures stay valid.
fn join(program: &Planned, made: &[MadeFile], order: &Order<'_>) -> Result<Built, Failure> {
    let read = |part: &MadeFile| {
        let path = target::beside(program.destination.path(), &program.target, &part.target);
        fs::read(&path).map_err(Failure::file("read", &path))
    };
    let programs = parts(program, made)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let universal = mach_o::join(&programs).map_err(Failure::Failed)?;
    let output = order.work.join("universal");
    fs::write(&output, universal).map_err(Failure::file("write", &output))?;
    Ok(Built { artifact: Artifact::File(output), inputs: Inputs::default(), embeds_runtime: false })
}

/// What was built, in the form that the bundler needs, and notes about it.
fn finished(built: &Built, program: &Planned, work: &Path) -> Result<(Artifact, Vec<String>), Failure> {
    let (target, file) = (&program.target, built.artifact.program());
    if !file.is_file() {
        return Err(Failure::failed(format!("the tool wrote no program to {}", file.display())));
    }
    // Cargo keeps its programs: a copy is signed.
    let artifact = match &built.artifact {
        Artifact::File(file) => {
            let copy = work.join(format!("finished{}", target.executable_suffix()));
            fs::copy(file, &copy).map_err(Failure::file("copy", file))?;
            Artifact::File(copy)
        }
        folder @ Artifact::Folder { .. } => folder.clone(),
    };
    let mut notes = if target.is_universal() {
        Vec::new()
    } else {
        finish::finish(artifact.program(), &program.program, target, built.embeds_runtime)?
    };
    notes.extend(finish::unsigned_folder(&artifact, target));
    Ok((artifact, notes.into_iter().map(str::to_owned).collect()))
}

/// Makes the folder of a build, without the remains of an earlier one. Returns a file in it with the date of now.
fn empty_folder(work: &Path) -> Result<PathBuf, Failure> {
    if work.exists() {
        fs::remove_dir_all(work).map_err(Failure::file("remove the folder", work))?;
    }
    fs::create_dir_all(work).map_err(Failure::file("make the folder", work))?;
    let started = work.join("started");
    fs::write(&started, "").map_err(Failure::file("write", &started))?;
    Ok(started)
}
