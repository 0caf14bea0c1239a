//! Steps of a long run: numbered, timed, quiet while they pass.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use xshell::Cmd;

use crate::counts::{Counts, Runner};

/// The run so far. The first failing step ends it.
#[derive(Debug)]
pub(crate) struct Steps {
    /// Each step's output is a file here, to look into while it runs and after.
    logs: PathBuf,
    number: usize,
    pub(crate) total: Counts,
}

impl Steps {
    pub(crate) fn new(logs: PathBuf) -> Result<Self> {
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self { logs, number: 0, total: Counts::default() })
    }

    /// Runs a command that passes or fails as a whole.
    pub(crate) fn run(&mut self, name: &str, command: Cmd<'_>) -> Result<()> {
        self.step(name, |log| execute(command, log)).map(drop)
    }

    /// Runs a command that runs tests, and adds them to the total.
    pub(crate) fn tests(&mut self, name: &str, runner: Runner, command: Cmd<'_>) -> Result<()> {
        let mut counts = Counts::default();
        let outcome = self.step(name, |log| {
            let ended = execute(command, log);
            let read = runner.counts(&String::from_utf8_lossy(&fs::read(log)?));
            counts = read.unwrap_or_default();
            ended?;
            match read {
                None => bail!("its closing line could not be read, so nobody knows what ran"),
                Some(Counts { failed: 1.., .. }) => bail!("it reports failures but claims success"),
                Some(Counts { passed, .. }) => Ok(format!(", {passed} passed")),
            }
        });
        self.total += counts;
        outcome
    }

    /// Says that a step is left out, which is no failure, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.number += 1;
        println!("{:2}. {name:<28}      skipped: {why}", self.number);
    }

    /// Looks at something that takes no command; what is wrong is the error.
    pub(crate) fn look(&mut self, name: &str, look: impl FnOnce() -> Result<()>) -> Result<()> {
        self.step(name, |_| look().map(|()| String::new()))
    }

    /// Runs `work`, which may write to the file it is given and answers what to say besides the time.
    fn step(&mut self, name: &str, work: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
        self.number += 1;
        let log = self.logs.join(format!("{:02}-{}.log", self.number, name.replace([' ', '/'], "-")));
        print!("{:2}. {name:<28}", self.number);
        io::stdout().flush()?;
        let begun = Instant::now();
        let outcome = work(&log);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(remark) => {
                println!("{seconds:7.1} s{remark}");
                Ok(())
            }
            Err(error) => {
                println!("{seconds:7.1} s, failed");
                io::stdout().write_all(&fs::read(&log).unwrap_or_default())?;
                Err(error.context(format!("step {} ({name}) failed", self.number)))
            }
        }
    }
}

/// Runs `command` to its end with everything it says in `log`.
fn execute(command: Cmd<'_>, log: &Path) -> Result<String> {
    let line = command.to_string();
    let output = File::create(log)?;
    let status = Command::from(command)
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
