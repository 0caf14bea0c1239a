//! Runs the steps of `cargo xtask test`, `third-party-servers` and `wine`: numbers and times each one, and shows its output only if it fails.

mod printer;

use std::{
    fs::{self, File},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};
use xshell::Cmd;

use self::printer::Printer;
use crate::test_summary::{Runner, TestCounts};

/// The steps so far. The caller stops at the first error.
#[derive(Debug)]
pub(crate) struct Steps {
    /// The folder with one log file for each step.
    logs: PathBuf,
    printer: Arc<Printer>,
    /// A step has failed, here or beside. No further step begins.
    stopped: Arc<AtomicBool>,
    /// The commands run at the lowest priority.
    gives_way: bool,
    total: TestCounts,
}

/// The error of steps that end because one beside them has failed. That one has the cause.
#[derive(Debug, thiserror::Error)]
#[error("a step beside this one failed")]
struct Stopped;

impl Steps {
    /// Runs `work` until its first error. The last line of the output has the number of passed and failed tests.
    pub(crate) fn run_all(logs: PathBuf, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<ExitCode> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let printer = Arc::new(Printer::default());
        let mut steps =
            Self { logs, printer, stopped: Arc::default(), gives_way: false, total: TestCounts::default() };
        let result = work(&mut steps);
        let mut total = steps.total;
        if let Err(error) = &result {
            eprintln!("\nxtask: {error:#}\n");
            // Count a failed step without tests, for example a compile error, as one failure.
            total.failed = total.failed.max(1);
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        Ok(if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Runs the steps of `first` and those of `second` at the same time, for example what waits beside what computes. The output
    /// is that of one after the other. Returns when both have ended. After a failure, the step that runs beside ends first.
    pub(crate) fn beside<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Result<T>,
        second: impl FnOnce(&mut Self) -> Result<()> + Send,
    ) -> Result<T> {
        let mut later = Self {
            logs: self.logs.clone(),
            printer: Arc::new(self.printer.held()),
            stopped: Arc::clone(&self.stopped),
            gives_way: self.gives_way,
            total: TestCounts::default(),
        };
        let printer = Arc::clone(&later.printer);
        let (first, second, total) = thread::scope(|scope| {
            let beside = scope.spawn(|| {
                let result = later.stopping_at_failure(second);
                (result, later.total)
            });
            let first = panic::catch_unwind(AssertUnwindSafe(|| self.stopping_at_failure(first)));
            printer.release();
            let beside = beside.join();
            let first = first.unwrap_or_else(|cause| panic::resume_unwind(cause));
            let (second, total) = beside.unwrap_or_else(|cause| panic::resume_unwind(cause));
            (first, second, total)
        });
        self.total += total;
        match (first, second) {
            (Err(error), Err(cause)) if error.is::<Stopped>() => Err(cause),
            (Err(error), Err(other)) if !other.is::<Stopped>() => Err(anyhow!("{error:#}; and {other:#}")),
            (first, second) => first.and_then(|result| second.map(|()| result)),
        }
    }

    /// Runs `work`. If it fails or panics, no further step begins, here or beside.
    fn stopping_at_failure<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let stopped = Arc::clone(&self.stopped);
        let result = panic::catch_unwind(AssertUnwindSafe(|| work(self)));
        if !matches!(result, Ok(Ok(_))) {
            stopped.store(true, Ordering::SeqCst);
        }
        result.unwrap_or_else(|cause| panic::resume_unwind(cause))
    }

    /// Gives the commands from now on the lowest priority, so that those beside them take the processor first. Unix only.
    pub(crate) fn give_way(&mut self) {
        self.gives_way = cfg!(unix);
    }

    /// Runs a command that passes or fails by its exit code.
    pub(crate) fn run(&mut self, name: &str, command: Cmd<'_>) -> Result<()> {
        let gives_way = self.gives_way;
        self.step(name, |log| execute(command, gives_way, log)).map(drop)
    }

    /// Runs a command that runs tests, and adds its counts to the total.
    pub(crate) fn tests(&mut self, name: &str, runner: Runner, command: Cmd<'_>) -> Result<()> {
        let mut counts = TestCounts::default();
        let gives_way = self.gives_way;
        let outcome = self.step(name, |log| {
            let result = execute(command, gives_way, log);
            let read = runner.counts(&String::from_utf8_lossy(&fs::read(log)?));
            counts = read.unwrap_or_default();
            result?;
            match read {
                None => bail!("the output has no summary line that xtask can parse (test_summary.rs)"),
                Some(TestCounts { failed: 1.., .. }) => bail!("it reports failures but exits with code 0"),
                Some(TestCounts { passed: 0, .. }) => bail!("it ran no test"),
                Some(TestCounts { passed, .. }) => Ok(format!(", {passed} passed")),
            }
        });
        self.total += counts;
        outcome
    }

    /// The number of tests that have passed so far.
    pub(crate) fn passed(&self) -> u64 {
        self.total.passed
    }

    /// Prints that a step is skipped, and why. A skipped step is not a failure.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.printer.begin(name);
        self.printer.end(&format!("     skipped: {why}"));
    }

    /// Runs a check that is a function of xtask. Its error says what is wrong.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
        self.step(name, |_| check().map(|()| String::new()))
    }

    /// Runs `work`, which may write to the log file that it gets. It returns a remark to print after the time.
    fn step(&mut self, name: &str, work: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(Stopped.into());
        }
        let log = self.logs.join(format!("{}.log", name.replace([' ', '/'], "-")));
        self.printer.begin(name);
        let begun = Instant::now();
        let outcome = work(&log);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(remark) => {
                self.printer.end(&format!("{seconds:7.1} s{remark}"));
                Ok(())
            }
            Err(error) => {
                let output = fs::read(&log).unwrap_or_default();
                let output = String::from_utf8_lossy(&output);
                self.printer.end(&format!("{seconds:7.1} s, failed\n{}", output.trim_end()));
                Err(error.context(format!("step `{name}` failed")))
            }
        }
    }
}

/// Runs `command` to its end, with stdout and stderr in the file `log`.
fn execute(command: Cmd<'_>, gives_way: bool, log: &Path) -> Result<String> {
    let line = command.to_string();
    let output = File::create(log)?;
    let mut command = Command::from(command);
    if gives_way {
        command = nice(&command);
    }
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}`: {status}");
    }
    Ok(String::new())
}

/// The same command below nice(1), with the lowest priority that POSIX names.
pub(crate) fn nice(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    nice
}

#[cfg(test)]
mod tests;
