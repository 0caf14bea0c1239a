//! The file of the run, in which the guard notes how the run ends after the app's death.

use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    time::{SystemTime, UNIX_EPOCH},
};

/// The file of the run, if the supervisor keeps one. `pillion/src/record/unfinished_run.rs` describes its lines and reads them.
#[derive(Default)]
pub(crate) struct RunFile {
    file: Option<File>,
    app_died: bool,
    kill_noted: bool,
    /// What happened before the app's death, of which the app may have made no report.
    notes: Vec<String>,
}

impl RunFile {
    pub(crate) fn new(file: Option<OwnedFd>) -> Self {
        Self { file: file.map(File::from), ..Self::default() }
    }

    /// Notes the line, at this time. It reaches the file once the app is dead: until then the app makes the report.
    pub(crate) fn note(&mut self, line: &str) {
        if self.file.is_none() {
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let line = format!("{at} {line}\n");
        if !self.app_died {
            self.notes.push(line);
        } else if let Some(file) = &mut self.file {
            // An error makes the later report poorer, and nothing else.
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// Notes, once, that what is left is killed, and whether the first process is part of it.
    pub(crate) fn note_kill(&mut self, leader: bool) {
        if !std::mem::replace(&mut self.kill_noted, true) {
            self.note(if leader { "killed leader" } else { "killed rest" });
        }
    }

    /// From now on, the lines go to the file.
    pub(crate) fn app_died(&mut self) {
        self.app_died = true;
        if let Some(file) = &mut self.file {
            let _ = file.write_all(self.notes.concat().as_bytes());
        }
    }
}
