//! `pillion doctor`: what is wrong with a Tauri project, its bundle and this machine.

mod catalogue;
mod fix;
mod machine;
mod names;
mod render;
mod report;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args as ClapArgs, error::ErrorKind};

use self::{
    catalogue::{KINDS, Severity},
    machine::Machine,
    report::{Finding, Report},
    rules::{binaries, bundle, declaration, dependencies, files, ignored, page},
};
use crate::project::{Platform, Project, TargetTriple};

/// Check a Tauri project with sidecars, its built bundle, and this machine.
///
/// Looks at the declarations, the built sidecars of all targets, the page's permissions, the versions of the plugin, what `tauri build`
/// has made, and what this machine has. Each finding says what is wrong, why it matters, and what to do. Starts no program of the
/// project, and changes nothing without --fix.
///
/// Exit status: 0 without an error, 1 if an error is left (with --strict also for a warning), 2 if the command line is wrong or the
/// project cannot be read. docs/doctor.md lists all findings.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A folder of the project.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    /// A target whose sidecars must be built; by default, that of this machine. May be repeated.
    #[arg(long, value_name = "TRIPLE")]
    target: Vec<TargetTriple>,
    /// Correct what is safe to correct: modes of files, lines in .gitignore and .taurignore, missing permissions.
    #[arg(long)]
    fix: bool,
    /// Leave out the findings of this kind. May be repeated.
    #[arg(long, value_name = "ID")]
    ignore: Vec<String>,
    /// Leave out the findings about this machine.
    #[arg(long)]
    no_machine: bool,
    /// Let a warning fail the command, too.
    #[arg(long)]
    strict: bool,
    /// Write the report to stdout as one JSON object.
    #[arg(long)]
    json: bool,
    /// List all kinds of findings, and check nothing.
    #[arg(long)]
    list: bool,
}

const EXAMPLES: &str = "\
Examples:
  The project in this folder:
    pillion doctor
  Correct what is safe to correct:
    pillion doctor --fix
  In CI, after the sidecars are built:
    pillion doctor --no-machine --target universal-apple-darwin
  Before the first build of a sidecar:
    pillion doctor --ignore missing-binary";

/// What decides about some findings, outside of the project.
#[derive(Debug, Default)]
struct Environment {
    /// The target of this machine.
    host: Option<TargetTriple>,
    /// `CARGO_TARGET_DIR`.
    cargo_target_dir: Option<PathBuf>,
    /// Whether the environment names an identity or a certificate, by which Tauri signs the app for macOS.
    signs_macos: bool,
    /// Whether `NO_STRIP` keeps linuxdeploy from stripping programs.
    no_strip: bool,
}

/// The project cannot be checked.
const NOT_CHECKED: u8 = 2;

/// The findings about the project in this folder and about this machine, as one JSON object.
///
/// # Errors
/// No project is there, or it cannot be read.
pub(crate) fn findings(project: PathBuf) -> Result<String, String> {
    let args = Args {
        project,
        target: Vec::new(),
        fix: false,
        ignore: Vec::new(),
        no_machine: false,
        strict: false,
        json: true,
        list: false,
    };
    let mut json = Vec::new();
    render::json(&check(&args)?, &mut json).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

pub(crate) fn main(args: Args) -> ExitCode {
    if let Some(unknown) = args.ignore.iter().find(|id| catalogue::find(id).is_none()) {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.id).collect();
        let message = format!("--ignore {unknown}: not one of {}", known.join(", "));
        Args::augment_args(clap::Command::new("pillion doctor"))
            .error(ErrorKind::InvalidValue, message)
            .exit();
    }
    if args.list {
        return finish(render::list(anstream::stdout().lock()), ExitCode::SUCCESS);
    }
    let report = match check(&args) {
        Ok(report) => report,
        Err(message) => {
            anstream::eprintln!("pillion: {message}");
            return ExitCode::from(NOT_CHECKED);
        }
    };
    let shown = if args.json {
        render::json(&report, io::stdout().lock())
    } else {
        render::text(&report, anstream::stdout().lock())
    };
    let failed = report.count(Severity::Error) > 0 || (args.strict && report.count(Severity::Warning) > 0);
    finish(shown, if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn finish(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written.and_then(|()| io::stdout().flush()) {
        Ok(()) => code,
        Err(error) => {
            anstream::eprintln!("pillion: cannot write the report: {error}");
            ExitCode::from(NOT_CHECKED)
        }
    }
}

fn check(args: &Args) -> Result<Report, String> {
    let project = Project::find(&args.project).map_err(|error| error.to_string())?;
    let host = TargetTriple::host();
    let targets = match (&args.target[..], &host) {
        ([], Ok(host)) => vec![host.clone()],
        ([], Err(error)) => return Err(format!("{error}; or name the targets by --target")),
        (targets, _) => targets.to_vec(),
    };
    let environment = Environment {
        host: host.ok(),
        cargo_target_dir: env::var_os("CARGO_TARGET_DIR").map(PathBuf::from),
        signs_macos: ["APPLE_SIGNING_IDENTITY", "APPLE_CERTIFICATE"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty())),
        no_strip: env::var_os("NO_STRIP").is_some(),
    };
    let machine = (!args.no_machine).then(Machine::look);
    let found = examine(&project, &targets, &environment, machine.as_ref());
    let all = found.len();
    let mut findings: Vec<_> =
        found.into_iter().filter(|finding| !args.ignore.iter().any(|id| id == finding.kind.id)).collect();
    let ignored = all - findings.len();
    if args.fix {
        fix::apply(&mut findings);
    }
    Ok(Report {
        project: Project::shown(&project.tauri),
        targets: targets.iter().map(ToString::to_string).collect(),
        findings,
        ignored,
    })
}

/// All findings, in the order of the catalogue. The configurations of all systems are checked, on any of them.
fn examine(
    project: &Project,
    targets: &[TargetTriple],
    environment: &Environment,
    machine: Option<&Machine>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let sources = files::sources(&project.tauri);
    let (mut is_declared, mut declared_here) = (false, None);
    for platform in Platform::ALL {
        let config = project.config.on(platform);
        is_declared |= config.get(&["plugins", "pillion"]).is_some();
        let declared = declaration::check(project, &config, &mut found);
        ignored::check(project, &config, &mut found);
        if let Some(declared) = &declared {
            page::check(project, &config, declared, &sources, &mut found);
        }
        binaries::check(project, &config, declared.as_ref(), targets, environment, &mut found);
        bundle::check(project, &config, environment, &mut found);
        if platform == Platform::host() {
            declared_here = declared;
        }
    }
    declaration::mobile(project, &mut found);
    if !is_declared && files::registers(&sources) {
        found.push(declaration::missing(&project.config.on(Platform::host())));
    }
    if is_declared && dependencies::check(project, &mut found) {
        files::check(&sources, &mut found);
    }
    if let Some(machine) = machine {
        machine::check(machine, project, declared_here.as_ref(), &mut found);
    }
    let place = |finding: &Finding| KINDS.iter().position(|kind| kind.id == finding.kind.id);
    found.sort_by_key(|finding| (place(finding), finding.place.clone(), finding.detail.clone()));
    // The systems share most of their configuration.
    found.dedup();
    found
}
