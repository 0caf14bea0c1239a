//! The lines of one read, and what they announce.

use std::sync::Arc;

use memchr::{memchr, memrchr};
use pillion_protocol::{Announcement, Line, LineFramer, NearMiss, announcement::may_announce, progress};

use super::{LINE_LIMIT, OutputBatch, Read, journal::Slot};
use crate::status::OutputStream;

/// Collects the lines of one read.
pub(super) struct Lines {
    pub(super) batch: OutputBatch,
    announcements: Vec<Announcement>,
    near_miss: Option<NearMiss>,
    /// The bytes of the last words of progress. They become text once a read, because a flood of such lines must stay cheap.
    pub(super) progress: Option<Vec<u8>>,
    /// Where they are in the journal of the run.
    pub(super) slot: Option<Slot>,
}

impl Lines {
    pub(super) fn new(stream: OutputStream) -> Self {
        Self {
            batch: OutputBatch::new(stream),
            announcements: Vec::new(),
            near_miss: None,
            progress: None,
            slot: None,
        }
    }

    /// Adds a line, and reads it if it may be an announcement or progress.
    pub(super) fn push(&mut self, line: &Line<'_>, may_announce: bool) {
        self.batch.push(line);
        if !may_announce {
            return;
        }
        if self.batch.stream == OutputStream::Stdout
            && let Some(words) = progress::read(line)
        {
            let last = self.progress.get_or_insert_default();
            last.clear();
            last.extend_from_slice(words);
            return;
        }
        let near_miss = match self.batch.stream {
            OutputStream::Stdout => {
                self.announcements.extend(Announcement::read(line));
                NearMiss::on_stdout(line)
            }
            OutputStream::Stderr => NearMiss::on_stderr(line),
        };
        self.near_miss = near_miss.or(self.near_miss.take());
    }

    pub(super) fn finish(self) -> Read {
        Read {
            lines: Arc::new(self.batch),
            announcements: self.announcements,
            near_miss: self.near_miss,
            progress: self.progress.map(|bytes| progress::words(&bytes)),
            unfinished: None,
            slot: self.slot,
        }
    }
}

/// Adds the lines that these bytes complete. To look at each line would take more time than all the rest: that is done only for those that
/// may be announcements, or are not kept as they are.
pub(super) fn frame(framer: &mut LineFramer, mut bytes: &[u8], lines: &mut Lines) {
    let any_may_announce = may_announce(bytes);
    if !any_may_announce {
        // The bytes do not tell about a line that began before them.
        if framer.unfinished().is_some()
            && let Some(end) = memchr(b'\n', bytes)
        {
            framer.feed(&bytes[..=end], |line| lines.push(&line, true));
            bytes = &bytes[end + 1..];
        }
        if framer.unfinished().is_none() {
            let whole = whole_lines(bytes);
            lines.batch.push_whole(whole);
            bytes = &bytes[whole.len()..];
        }
    }
    let mut may_announce = any_may_announce || framer.unfinished().is_some();
    framer.feed(bytes, |line| {
        lines.push(&line, may_announce);
        may_announce = any_may_announce;
    });
}

/// The complete lines at the beginning of these bytes, if all of them are kept as they are: no carriage return, and none beyond the limit.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let Some(last) = memrchr(b'\n', bytes) else { return &[] };
    let whole = &bytes[..=last];
    if memchr(b'\r', whole).is_some() {
        return &[];
    }
    let mut fitting = 0;
    while whole.len() - fitting > LINE_LIMIT {
        match memrchr(b'\n', &whole[fitting..=fitting + LINE_LIMIT]) {
            Some(end) => fitting += end + 1,
            None => return &whole[..fitting],
        }
    }
    whole
}
