//! The log file of the sidecar, to which the guard writes what the app could not write any more.

mod file;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    thread,
    time::Duration,
};

use file::LogFile;

use super::{
    log_lines::{
        append_output, head,
        journal::{self, Begun, Commit, Written},
        level::Level,
        word,
    },
    run_file::now,
    sys::{self, Outputs},
};

/// How much memory the output takes that the guard keeps until it writes it, and what each read of it takes besides its bytes.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
const READ: usize = 72;
/// How long the guard waits until the system says that the app is no more. Its socket ends a moment before.
const DEATHS: u32 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// What the guard reads after the app's death, and where that is written to.
///
/// It is written when no process is left: a disk that does not answer must delay no request to stop, and no kill.
#[derive(Default)]
pub(crate) struct RunLog {
    /// The journal, and the place of the run in it.
    journal: Option<(File, usize)>,
    drained: Vec<Drained>,
    kept: usize,
    /// How many bytes were not kept: all that came after the first of them.
    missing: u64,
}

/// What one read returned.
struct Drained {
    stream: usize,
    at: u64,
    bytes: Vec<u8>,
}

impl RunLog {
    pub(crate) fn new(journal: Option<OwnedFd>, run: Option<usize>) -> Self {
        Self { journal: journal.map(File::from).zip(run), ..Self::default() }
    }

    /// Keeps what was read from an output.
    pub(crate) fn add(&mut self, stream: usize, bytes: &[u8]) {
        if self.journal.is_none() {
            return;
        }
        // Nothing after a gap, which would join parts of different lines.
        if self.missing > 0 || self.kept + READ + bytes.len() > KEPT_BYTES {
            self.missing += bytes.len() as u64;
            return;
        }
        self.kept += READ + bytes.len();
        self.drained.push(Drained { stream, at: millis(), bytes: bytes.to_vec() });
    }

    /// Writes everything, if the app is dead. `end` says how the sidecar has ended. May block.
    pub(crate) fn write(&mut self, outputs: &mut Outputs, end: &str) {
        // Otherwise the app has closed the socket, and writes its log file itself.
        if self.journal.take_if(|(journal, _)| !app_is_dead(journal)).is_some() || self.journal.is_none() {
            return;
        }
        sys::ignore_size_limit();
        outputs.drain_all(self);
        // An error leaves the file without the last lines. Nothing can be told of it any more.
        let _ = self.write_all(end);
    }

    /// Writes what all runs have in the journal, if no other guard has done so, and what this one has read.
    fn write_all(&self, end: &str) -> io::Result<()> {
        let Some((journal, own)) = &self.journal else { return Ok(()) };
        // Read now: the app may have written until it was dead. That is visible: the kernel copies it.
        let mut header = vec![0; journal::HEADER];
        journal.read_exact_at(&mut header, 0)?;
        let Some(commit) = Commit::current(&header) else { return Ok(()) };
        let name = journal::text(&header, journal::NAME, journal::NAME_SIZE).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let mut runs: Vec<_> =
            (0..journal::RUNS).map(|place| Run::read(journal, place)).collect::<Result<_, _>>()?;
        runs.sort_by_key(|run| run.number);
        let (file, uncommitted) = LogFile::open(&header, &commit, journal)?;
        let tokens = runs.iter().filter_map(|run| run.token.as_deref()).collect();
        let mut lines = Lines { file, tokens, text: Vec::new() };
        let (mut number, mut begun) = (0, <[Begun; 2]>::default());
        for run in runs.iter().filter(|run| uncommitted.is_some() || run.place == *own) {
            let of = |stream| {
                let counts = uncommitted.as_ref();
                // The other guard has written them all.
                counts.map_or(u64::MAX, |counts| *counts.get(&(run.number, stream)).unwrap_or(&0))
            };
            let rest = lines.journaled(journal, run, &commit.written[run.place], [of(0), of(1)])?;
            // A line that another run has begun is left to its guard.
            if run.place == *own {
                (number, begun) = (run.number, rest);
            }
        }
        if uncommitted.is_some() {
            // Only now: if this guard fails, the next one writes them.
            lines.file.append(&mut lines.text)?;
            journal.write_all_at(&1_u64.to_ne_bytes(), journal::RECOVERED as u64)?;
        }
        let note = |text: &mut Vec<u8>, level, words: &str| {
            let head = head(millis(), number, "pillion");
            text.extend_from_slice(format!("{head}{} {name} {words}\n", word(Some(level))).as_bytes());
        };
        note(&mut lines.text, Level::Warn, "is stopped by its guard, because the app has died");
        for Drained { stream, at, bytes } in &self.drained {
            let head = head(*at, number, STREAMS[*stream]);
            lines.feed(&mut begun[*stream], bytes, &head, &mut 0)?;
        }
        for (begun, stream) in begun.iter_mut().zip(STREAMS).filter(|(begun, _)| !begun.is_empty()) {
            let head = head(millis(), number, stream);
            begun.finish(|line, dropped| lines.output(&head, line, dropped));
        }
        if self.missing > 0 {
            let words =
                format!("wrote {} bytes more, which are missing here: its guard keeps 8 MiB", self.missing);
            note(&mut lines.text, Level::Warn, &words);
        }
        note(&mut lines.text, Level::Info, end);
        lines.file.append(&mut lines.text)
    }
}

/// A run in the journal.
struct Run {
    place: usize,
    number: u64,
    token: Option<Vec<u8>>,
}

impl Run {
    fn read(journal: &File, place: usize) -> io::Result<Self> {
        let mut head = [0; journal::RUN_HEAD];
        journal.read_exact_at(&mut head, Self::start(place))?;
        let token = &head[journal::TOKEN..journal::TOKEN + journal::TOKEN_SIZE];
        let token = token.iter().all(|digit| *digit != 0).then(|| token.to_vec());
        Ok(Self { place, number: journal::get(&head, 0).unwrap_or_default(), token })
    }

    /// Where it is in the journal.
    fn start(place: usize) -> u64 {
        (journal::HEADER + place * journal::RUN) as u64
    }
}

/// The lines that are written.
struct Lines<'a> {
    file: LogFile,
    /// The tokens of all runs: one may print that of another.
    tokens: Vec<&'a [u8]>,
    text: Vec<u8>,
}

impl Lines<'_> {
    /// Writes what a run has in the journal and not in the log file: `written` says what is, and so many lines of each stream are `in_file`
    /// besides. Returns the lines that have begun.
    fn journaled(
        &mut self,
        journal: &File,
        run: &Run,
        written: &[Written; 2],
        mut in_file: [u64; 2],
    ) -> io::Result<[Begun; 2]> {
        let mut content = vec![0; journal::RUN];
        journal.read_exact_at(&mut content, Run::start(run.place))?;
        let mut begun = <[Begun; 2]>::default();
        for piece in journal::unwritten(&content, written) {
            let (begun, in_file) = (&mut begun[piece.stream], &mut in_file[piece.stream]);
            // What comes first in the piece, even if bytes before it were read to other memory.
            *begun = Begun::new(piece.carry);
            let head = head(piece.at.unwrap_or_else(millis), run.number, STREAMS[piece.stream]);
            let mut skipped = piece.written.saturating_add(*in_file);
            let all = skipped;
            self.feed(begun, piece.bytes, &head, &mut skipped)?;
            if piece.end && !begun.is_empty() {
                begun.finish(|line, dropped| self.output_or_skip(&head, line, dropped, &mut skipped));
            }
            *in_file = in_file.saturating_sub((all - skipped).saturating_sub(piece.written));
        }
        Ok(begun)
    }

    /// Writes the lines that these bytes complete, except the first ones, as many as are `skipped`.
    fn feed(&mut self, begun: &mut Begun, bytes: &[u8], head: &str, skipped: &mut u64) -> io::Result<()> {
        for part in bytes.chunks(1024) {
            begun.feed(part, |line, dropped| self.output_or_skip(head, line, dropped, skipped));
            self.file.append_if_full(&mut self.text)?;
        }
        Ok(())
    }

    fn output_or_skip(&mut self, head: &str, line: &[u8], dropped: u64, skipped: &mut u64) {
        match skipped.checked_sub(1) {
            Some(left) => *skipped = left,
            None => self.output(head, line, dropped),
        }
    }

    fn output(&mut self, head: &str, line: &[u8], dropped: u64) {
        append_output(head, line, dropped, self.tokens.iter().copied(), &mut self.text);
    }
}

fn millis() -> u64 {
    u64::try_from(now()).unwrap_or(u64::MAX)
}

/// Whether the app is dead. It may live and have closed the socket.
fn app_is_dead(journal: &File) -> bool {
    let mut app = [0; 8];
    if journal.read_exact_at(&mut app, journal::APP as u64).is_err() {
        return false;
    }
    for _ in 0..DEATHS {
        if u64::from_ne_bytes(app) != u64::from(sys::parent()) {
            return true;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    false
}
