//! The thread that writes the log files of a sidecar.

use std::{io, sync::Arc, time::Duration};

use memchr::{memchr, memchr_iter, memrchr};
use tokio::{sync::broadcast::WeakSender, time::Instant};

use super::{
    folder::{AppendError, LogFolder, OpenFile},
    lines::Lines,
    queue::{Item, Queue},
};
use crate::{
    report::{events::SidecarEvent, level::Level, snapshot::now_ms},
    spec::LogFiles,
};

/// How much is collected for one write, if more is there.
const AT_ONCE: usize = 32 * 1024;
/// How often a disk is tried again that refuses to write, and how often the writer looks whether its file still is in its place.
const AGAIN: Duration = Duration::from_secs(1);

/// Writes what the queue holds, until it is closed.
#[derive(Debug)]
pub(super) struct Writer {
    sidecar: String,
    queue: Arc<Queue>,
    folder: LogFolder,
    events: WeakSender<SidecarEvent>,
    lines: Lines,
    file: Option<OpenFile>,
    /// When the file was last found in its place.
    looked: Option<Instant>,
    trouble: Option<Trouble>,
    /// The last run of which something came.
    run: u64,
    /// The last run in which it was told that the disk refuses to write, and that it does not any more.
    told: [Option<u64>; 2],
}

/// Kinds of notices. Each is published once in a run: a disk that refuses each second write must not flood the readers.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Refused = 0,
    Again = 1,
}

/// The disk refuses to write.
#[derive(Debug)]
pub(super) struct Trouble {
    /// How many lines are not written.
    missing: u64,
    tried: Option<Instant>,
    why: String,
}

impl Writer {
    pub(super) fn new(
        sidecar: &str,
        queue: Arc<Queue>,
        files: &LogFiles,
        events: WeakSender<SidecarEvent>,
    ) -> Self {
        Self {
            sidecar: sidecar.to_owned(),
            queue,
            folder: LogFolder::new(files, sidecar),
            events,
            lines: Lines::default(),
            file: None,
            looked: None,
            trouble: None,
            run: 0,
            told: [None; 2],
        }
    }

    pub(super) fn run(mut self) {
        let mut text = Vec::with_capacity(2 * AT_ONCE);
        let (mut items, mut lines) = (0, 0);
        loop {
            // A write that failed is tried again, also if nothing more comes.
            let wait = if items > 0 { Some(Duration::ZERO) } else { self.trouble.as_ref().map(|_| AGAIN) };
            match self.queue.take(wait) {
                Ok(Some(item)) => {
                    items += 1;
                    lines += self.format(item, &mut text);
                    if text.len() < AT_ONCE {
                        continue;
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    // The last try is not delayed.
                    if let Some(trouble) = &mut self.trouble {
                        trouble.tried = None;
                    }
                    self.write(&mut text, lines);
                    self.queue.done(items);
                    return;
                }
            }
            self.write(&mut text, lines);
            if items > 0 {
                self.queue.done(items);
            }
            (items, lines) = (0, 0);
            // The lines of a read that are short become much longer, and few reads are like that.
            text.shrink_to(2 * AT_ONCE);
        }
    }

    /// Appends the lines of an item, and returns their number.
    fn format(&mut self, item: Item, text: &mut Vec<u8>) -> u64 {
        match item {
            Item::Token(token) => {
                self.lines.hide(token);
                0
            }
            Item::Forget(token) => {
                self.lines.forget(&token);
                0
            }
            Item::Lines { at, run, batch } => {
                self.run = run;
                self.lines.output(at, run, &batch, text);
                batch.len() as u64
            }
            Item::Note { at, run, level, text: sentence } => {
                self.run = run;
                self.lines.note(at, run, level, &sentence, text);
                1
            }
            Item::Missing(lines) => {
                let sentence = missing(lines, "the disk did not answer");
                self.lines.note(now_ms(), self.run, Level::Warn, &sentence, text);
                lines
            }
        }
    }

    /// Writes the text, which has so many lines, or counts them as missing. Empties the text.
    fn write(&mut self, text: &mut Vec<u8>, lines: u64) {
        let now = Instant::now();
        if let Some(trouble) = &mut self.trouble {
            if trouble.tried.is_some_and(|tried| now < tried + AGAIN) {
                trouble.missing += lines;
                text.clear();
                return;
            }
            // Before what comes now.
            let sentence = missing(trouble.missing, &trouble.why);
            let mut note = Vec::new();
            self.lines.note(now_ms(), self.run, Level::Warn, &sentence, &mut note);
            text.splice(0..0, note);
        }
        let mut rest = text.as_slice();
        let written = self.append(&mut rest, now);
        // The note has been written, or nothing has.
        let unwritten =
            if rest.len() == text.len() { lines } else { memchr_iter(b'\n', rest).count() as u64 };
        text.clear();
        match written {
            Ok(()) => {
                if let Some(trouble) = self.trouble.take() {
                    let lines = trouble.missing;
                    self.notice(
                        Kind::Again,
                        &format!("its log file is written again; {lines} lines are missing in it"),
                    );
                }
            }
            Err(error) => {
                let why = format!("{}: {error}", self.folder.path().display());
                match &mut self.trouble {
                    // The note of those before is in the file.
                    Some(trouble) if unwritten < lines => {
                        *trouble = Trouble { missing: unwritten, tried: Some(now), why };
                    }
                    Some(trouble) => {
                        trouble.missing += unwritten;
                        (trouble.tried, trouble.why) = (Some(now), why);
                    }
                    None => {
                        self.notice(
                            Kind::Refused,
                            &format!("its log file cannot be written, and it goes on without it: {why}"),
                        );
                        self.trouble = Some(Trouble { missing: unwritten, tried: Some(now), why });
                    }
                }
            }
        }
    }

    /// Appends whole lines to the present file, or to new ones. After an error, `text` is what is not written.
    fn append(&mut self, text: &mut &[u8], now: Instant) -> io::Result<()> {
        while !text.is_empty() {
            let piece = &text[..piece(text)];
            if let Some(file) = &self.file {
                let look = self.looked.is_none_or(|looked| now >= looked + AGAIN);
                if self.folder.is_full(file, piece.len()) || look && !file.is_in_place() {
                    self.file = None;
                } else if look {
                    self.looked = Some(now);
                }
            }
            let file = match &mut self.file {
                Some(file) => file,
                none => {
                    self.looked = Some(now);
                    none.insert(self.folder.begin()?)
                }
            };
            let new = file.is_empty();
            match file.append(piece) {
                Ok(()) if new => self.folder.prune(file),
                Ok(()) => {}
                Err(AppendError { why, usable }) => {
                    if new {
                        // Each try would leave one.
                        self.file.take().into_iter().for_each(OpenFile::discard);
                    } else if !usable {
                        self.file = None;
                    }
                    return Err(why);
                }
            }
            *text = &text[piece.len()..];
        }
        Ok(())
    }

    fn notice(&mut self, kind: Kind, text: &str) {
        if self.told[kind as usize].replace(self.run) == Some(self.run) {
            return;
        }
        tracing::warn!(sidecar = self.sidecar, "{text}");
        if let Some(events) = self.events.upgrade() {
            // An error means that no reader is subscribed.
            let _ = events.send(SidecarEvent::Notice(text.to_owned()));
        }
    }
}

/// The length of the whole lines at the beginning of the text that are written at once: one, or as many as fit.
fn piece(text: &[u8]) -> usize {
    let most = &text[..text.len().min(AT_ONCE)];
    let end = if most.len() == text.len() { Some(text.len() - 1) } else { memrchr(b'\n', most) };
    end.or_else(|| memchr(b'\n', text)).map_or(text.len(), |newline| newline + 1)
}

fn missing(lines: u64, why: &str) -> String {
    format!("{lines} lines are missing here: {why}")
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use tokio::sync::broadcast;

    use super::*;
    use crate::spec::LogFiles;

    #[test]
    fn a_disk_that_refused_is_tried_once_more_at_the_end() {
        let base = tempfile::tempdir().unwrap();
        let blocked = base.path().join("logs");
        fs::write(&blocked, "in the way").unwrap();
        let (events, mut received) = broadcast::channel(8);
        let queue = Arc::new(Queue::default());
        let writer = Writer::new("backend", Arc::clone(&queue), &LogFiles::new(&blocked), events.downgrade());
        queue.add(Item::Note { at: 0, run: 1, level: Level::Info, text: "first".to_owned() });
        let thread = thread::spawn(move || writer.run());
        received.blocking_recv().unwrap();
        fs::remove_file(&blocked).unwrap();
        queue.close();
        thread.join().unwrap();
        let file = fs::read_dir(blocked.join("backend")).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("1 lines are missing here: "), "{text}");
    }
}
