//! What of the journal is written: the writer of the log files notes it there, for the guards of the runs.

use std::{io, path::Path, sync::Arc};

use pillion_guard::log_lines::journal::{
    APP, COMMIT, COMMITS, CURRENT, Commit, FOLDER, FOLDER_SIZE, HEADER, MAX_BYTES, NAME, NAME_SIZE, PROGRAM,
    RUN, RUN_HEAD, RUNS, STREAM, Written, put, put_text,
};

use crate::{
    output::journal::{Journal, Released, Slot},
    report::report_folder::this_program,
    sys::{Region, shared_memory},
};

/// What the writer of the log files notes in the journal.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Arc<Journal>,
    header: Region,
    commit: Commit,
    number: u64,
    /// The slots of which all lines, or so many, are in what is written next.
    next: Vec<(Slot, Option<u64>)>,
}

impl Ledger {
    /// Creates the journal of a sidecar whose log files are in this folder.
    pub(super) fn new(sidecar: &str, folder: &Path, max_bytes: u64) -> io::Result<Self> {
        // The guard has another working directory.
        let folder = std::path::absolute(folder)?;
        let sizes = [[RUN_HEAD, STREAM, STREAM, RUN - RUN_HEAD - 2 * STREAM]; RUNS];
        let sizes: Vec<_> = [HEADER].into_iter().chain(sizes.into_iter().flatten()).collect();
        let (file, regions) = shared_memory(&sizes)?;
        let mut regions = regions.into_iter();
        let missing = || io::Error::from(io::ErrorKind::OutOfMemory);
        let mut header = regions.next().ok_or_else(missing)?;
        let bytes = header.bytes();
        put(bytes, APP, std::process::id().into());
        put(bytes, MAX_BYTES, max_bytes);
        let program = this_program().as_bytes();
        bytes[PROGRAM..PROGRAM + program.len()].copy_from_slice(program);
        put_text(bytes, NAME, NAME_SIZE, &sidecar.as_bytes()[..sidecar.len().min(NAME_SIZE)]);
        if !put_text(bytes, FOLDER, FOLDER_SIZE, folder.as_os_str().as_encoded_bytes()) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let mut runs = Vec::new();
        while let (Some(head), Some(stdout), Some(stderr)) = (regions.next(), regions.next(), regions.next())
        {
            runs.push((head, [stdout, stderr]));
            let _padding = regions.next();
        }
        let journal = Arc::new(Journal::new(file, runs));
        Ok(Self { journal, header, commit: Commit::default(), number: 0, next: Vec::new() })
    }

    /// The journal that it belongs to.
    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What is written to from now on.
    pub(super) fn begin_file(&mut self, name: &str) {
        name.clone_into(&mut self.commit.file);
        self.commit.length = 0;
        self.publish();
    }

    /// So many lines of this slot are in what is written next, or all of them.
    pub(super) fn add(&mut self, slot: Slot, lines: Option<u64>) {
        self.next.push((slot, lines));
    }

    /// What was added is written, or given up. The file has this length, if it has changed.
    pub(super) fn commit(&mut self, length: Option<u64>) {
        self.commit.length = length.unwrap_or(self.commit.length);
        for (slot, lines) in &self.next {
            self.commit.written[slot.run][slot.stream] = match lines {
                Some(lines) => Written { slot: slot.number - 1, lines: *lines },
                None => Written { slot: slot.number, lines: 0 },
            };
        }
        self.publish();
        // Only now may their memory be used again.
        for (slot, _) in self.next.drain(..).filter(|(_, lines)| lines.is_none()) {
            slot.set_written();
        }
    }

    /// The stream is not read any more, and all that was read of it is written.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(unreachable_code, unused_variables, reason = "there is no region on other systems")
    )]
    pub(super) fn release(&mut self, released: Released) {
        let (run, stream) = released.place();
        let region = released.clear();
        self.commit.written[run][stream] = Written::default();
        self.publish();
        self.journal.give_back(run, stream, region);
    }

    fn publish(&mut self) {
        let at = COMMITS + usize::from((self.number + 1) % 2 == 1) * COMMIT;
        self.commit.encode(&mut self.header.bytes()[at..at + COMMIT]);
        self.number += 1;
        self.header.publish(CURRENT, self.number);
    }
}
