//! The file of the run, in which the guard notes how the run ends after the app's death.

use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    time::{SystemTime, UNIX_EPOCH},
};

/// The file of the run, if the supervisor keeps one. `pillion/src/report/unfinished_run.rs` describes its lines and reads them.
///
/// It is written when no process is left: a disk that does not answer must delay no request to stop, and no kill.
#[derive(Default)]
pub(crate) struct RunFile {
    file: Option<File>,
    app_died: bool,
    kill_noted: bool,
    notes: String,
}

/// The time since the Unix epoch, in milliseconds.
pub(crate) fn now() -> u128 {
    #[expect(clippy::disallowed_methods, reason = "it is only shown")]
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

impl RunFile {
    pub(crate) fn new(file: Option<OwnedFd>) -> Self {
        Self { file: file.map(File::from), ..Self::default() }
    }

    /// Notes the line, with a time in milliseconds since the Unix epoch.
    pub(crate) fn note_at(&mut self, line: &str, at: u128) {
        if self.file.is_some() {
            self.notes += &format!("{at} {line}\n");
        }
    }

    fn note(&mut self, line: &str) {
        self.note_at(line, now());
    }

    /// Notes, once, that what is left is killed, and whether the first process is part of it.
    pub(crate) fn note_kill(&mut self, leader: bool) {
        if !std::mem::replace(&mut self.kill_noted, true) {
            self.note(if leader { "killed leader" } else { "killed rest" });
        }
    }

    /// A kill was requested: it is not the end of the grace period.
    pub(crate) fn kill_requested(&mut self) {
        self.kill_noted = true;
    }

    /// From now on, the app makes no report.
    pub(crate) fn app_died(&mut self) {
        if !std::mem::replace(&mut self.app_died, true) {
            self.note("alone");
        }
    }

    /// Whether the app has died.
    pub(crate) fn has_app_died(&self) -> bool {
        self.app_died
    }

    /// Writes the notes if the app has made no report. May block.
    pub(crate) fn write(&mut self) {
        if let Some(file) = self.file.as_mut().filter(|_| self.app_died) {
            // The last line of the app may be cut. An error makes the later report poorer, and nothing else.
            let _ = file.write_all(format!("\n{}", self.notes).as_bytes());
        }
    }
}
