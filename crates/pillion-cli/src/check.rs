//! `pillion check`: whether a program follows docs/protocol.md.

mod catalogue;
mod harness;
pub(crate) mod launch;
#[cfg(target_os = "linux")]
mod processes;
mod registry;
mod render;
mod report;
mod rules;
mod run;
mod watch;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use clap::{Args as ClapArgs, error::ErrorKind};
use tempfile::TempDir;

use self::{
    catalogue::{ANNOUNCEMENT, CHECKS, Check, FLUSH},
    harness::{Harness, Settings},
    registry::Registry,
    report::{Finding, Report, Verdict},
    rules::announce::Gate,
};
use crate::{async_runtime::start_runtime, interrupts::interrupts};

/// Check whether a program follows the protocol between a host and its sidecar.
///
/// Starts the program many times, as a host would and in hostile ways, and says of each rule of docs/protocol.md: kept, broken,
/// not supported, or not checked; with the bytes, times and statuses that it saw, and what to change. The program gets a token,
/// and must then follow rule 5 (be private), unless you give --public. No process of the program is left behind.
///
/// Exit status: 0 if no rule is broken, 1 if a rule is broken, 2 if the command line is wrong or the program cannot be started,
/// 130 after an interrupt.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  All rules:\n    pillion check node dist/server.js\n  Some of them:\n    pillion check --rule host --rule 3 ./backend"
)]
pub(crate) struct Args {
    /// Write the report to stdout as one JSON object.
    #[arg(long)]
    json: bool,
    /// Check one rule: its number in docs/protocol.md, from 1 to 6, or the name of a check, such as "drain". May be repeated.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Leave out the checks of what the protocol calls a *should*.
    #[arg(long)]
    musts: bool,
    /// The program does not claim rule 5: it gets no token.
    #[arg(long)]
    public: bool,
    /// A path whose POST handler reads its whole body: half a body is then a request in flight.
    #[arg(long, value_name = "PATH", default_value = "/")]
    upload: String,
    /// The time limit for each start and each answer.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The program and its arguments. What follows the program belongs to it, with or without `--` before it.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Checks that run at the same time.
const PARALLEL: usize = 4;
/// As `INT` of a shell: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;
const WRONG_USAGE: u8 = 2;

pub(crate) fn main(args: Args) -> ExitCode {
    let selected = match select(&args.rule, args.musts) {
        Ok(selected) => selected,
        Err(message) => Args::augment_args(clap::Command::new("pillion check"))
            .error(ErrorKind::InvalidValue, message)
            .exit(),
    };
    match check(args, &selected) {
        Ok(code) => code,
        Err(message) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

/// The checks that `--rule` names; all without it.
fn select(rules: &[String], musts: bool) -> Result<Vec<Check>, String> {
    let names = |check: &Check, rule: &str| check.name == rule || check.rule.to_string() == rule;
    if let Some(unknown) = rules.iter().find(|rule| !CHECKS.iter().any(|check| names(check, rule))) {
        let known: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        return Err(format!("--rule {unknown}: not a rule from 1 to 6, and not one of {}", known.join(", ")));
    }
    let wanted = |check: &&Check| {
        (rules.is_empty() || rules.iter().any(|rule| names(check, rule)))
            && !(musts && check.level == report::Requirement::Should)
    };
    Ok(CHECKS.iter().filter(wanted).copied().collect())
}

fn check(args: Args, selected: &[Check]) -> Result<ExitCode, String> {
    let settings =
        Settings { command: args.command, private: !args.public, timeout: args.timeout, upload: args.upload };
    let report = inspect(settings, selected)?;
    let shown = if args.json {
        render::json(&report, io::stdout().lock())
    } else {
        render::text(&report, anstream::stdout().lock())
    };
    shown.and_then(|()| io::stdout().flush()).map_err(|error| format!("cannot write the report: {error}"))?;
    Ok(if report.count(report::Outcome::Broken) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the checks of a program found, for another command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Musts {
    /// How many checks of a *must* found the rule kept.
    pub(crate) kept: usize,
    /// What is broken, with the evidence and what to change.
    pub(crate) broken: Vec<String>,
}

/// Checks a program as `pillion check --musts` does.
///
/// # Errors
///
/// Fails if the program cannot be started.
pub(crate) fn musts(command: Vec<OsString>, private: bool) -> Result<Musts, String> {
    let selected = select(&[], true)?;
    let settings = Settings { command, private, timeout: Duration::from_secs(60), upload: "/".to_owned() };
    let report = inspect(settings, &selected)?;
    let broken = report.findings.iter().filter(|finding| finding.outcome == report::Outcome::Broken);
    let text = |finding: &Finding| {
        format!("{}: {}\nchange: {}", finding.check, finding.evidence, finding.change.unwrap_or_default())
    };
    Ok(Musts { kept: report.count(report::Outcome::Kept), broken: broken.map(text).collect() })
}

fn inspect(settings: Settings, selected: &[Check]) -> Result<Report, String> {
    let (runtime, end) = start_runtime()
        .map_err(|error| format!("cannot start the async runtime: {error}; raise `ulimit -u`"))?;
    let folder = tempfile::Builder::new().prefix("pillion-check").tempdir();
    let folder = folder.map_err(|error| format!("cannot make a temporary folder: {error}; set TMPDIR"))?;
    let registry = Arc::new(Registry::new(runtime.clone()));
    watch_interrupts(&runtime, &registry, &folder)?;
    let harness = Harness::new(settings, registry, folder.path().to_owned());
    let gate = rules::announce::gate(&harness)?;
    let report = Report {
        command: harness.settings.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        private: harness.settings.private,
        findings: look(&harness, &gate, selected),
        measurements: gate.measurements,
    };
    drop((harness, folder, end));
    Ok(report)
}

/// Makes an interrupt kill all processes, remove the folder and end this process.
fn watch_interrupts(
    runtime: &tokio::runtime::Handle,
    registry: &Arc<Registry>,
    folder: &TempDir,
) -> Result<(), String> {
    let _runtime = runtime.enter();
    let mut interrupts = interrupts().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let (registry, folder) = (Arc::clone(registry), folder.path().to_owned());
    runtime.spawn(async move {
        if interrupts.recv().await.is_some() {
            registry.interrupt().await;
            let _ = std::fs::remove_dir_all(folder);
            anstream::eprintln!("pillion: the check was interrupted; no process of the program is left");
            std::process::exit(INTERRUPTED);
        }
    });
    Ok(())
}

/// Runs the checks, several at the same time, and keeps their order.
fn look(harness: &Harness, gate: &Gate, selected: &[Check]) -> Vec<Finding> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(selected.len()) {
            scope.spawn(|| {
                while let Some(check) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let finding = finding(check, verdict(harness, gate, check));
                    found.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |finding: &Finding| selected.iter().position(|check| check.name == finding.check);
    found.sort_by_key(place);
    found
}

fn verdict(harness: &Harness, gate: &Gate, check: &Check) -> Verdict {
    match check.name {
        ANNOUNCEMENT => return gate.announcement.clone(),
        FLUSH => return gate.flush.clone(),
        _ => {}
    }
    if let Some((broken, evidence)) = &gate.fatal {
        return match check.name == *broken {
            true => Verdict::Broken(evidence.clone()),
            false => Verdict::NotChecked(format!("the program breaks the rule {broken}")),
        };
    }
    let announced =
        [&gate.announcement, &gate.flush].iter().all(|verdict| matches!(verdict, Verdict::Kept(_)));
    match check.look {
        Some(look) if announced => look(harness).unwrap_or_else(|early| early),
        _ => Verdict::NotChecked("the program did not announce itself".to_owned()),
    }
}

fn finding(check: &Check, verdict: Verdict) -> Finding {
    let (outcome, evidence) = verdict.split();
    let change = (outcome == report::Outcome::Broken).then_some(check.change);
    let Check { name, rule, level, demand, .. } = *check;
    Finding { check: name, rule, level, demand, outcome, evidence, change }
}
