//! The app's side of the journal (`pillion_guard::log_lines::journal`): output is read right into memory that the guard of the run holds as
//! well, and its place there is used again only after its lines are in the log file. What the app has read when it is killed is thus either in
//! the file or in the journal.

use std::{
    fmt,
    fs::File,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pillion_guard::log_lines::journal::{
    Begun, FILLED, PIECE, SKIPPED, SLOT, SLOT_HEAD, SLOTS, STREAM_HEAD, TOKEN, TOKEN_SIZE, put, slot,
};
use pillion_protocol::Token;

use crate::{sys::Region, wall_clock::now_ms};

/// The journal of one sidecar.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    runs: Mutex<Vec<Place>>,
}

/// The place of a run.
#[derive(Debug)]
struct Place {
    head: Region,
    /// The streams; `None` while a run has them.
    streams: [Option<Region>; 2],
}

/// The journal of one run. Give the streams to the readers of its output.
#[derive(Debug)]
pub(crate) struct RunJournal {
    journal: Arc<Journal>,
    place: usize,
    pub(crate) streams: [StreamJournal; 2],
}

/// Where one stream of a run is read to. Dropping it gives the place back, after what was read is written.
#[derive(Debug)]
pub(crate) struct StreamJournal {
    region: Option<Region>,
    run: usize,
    stream: usize,
    /// The number of the last slot that is written.
    written: Arc<AtomicU64>,
    /// How many slots were prepared, and how many of them are filled: as many, or one less.
    prepared: u64,
    filled: u64,
    /// How many bytes of each slot are not zero.
    used: [usize; SLOTS],
    begun: Begun,
    /// The order of the pieces of both streams.
    order: Arc<AtomicU64>,
    release: Release,
}

/// Takes what is not read any more.
#[derive(Clone)]
struct Release(Arc<dyn Fn(Released) + Send + Sync>);

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Release")
    }
}

/// A slot whose lines are to be written.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) run: usize,
    pub(crate) stream: usize,
    pub(crate) number: u64,
    written: Arc<AtomicU64>,
}

/// A stream that is not read any more.
#[derive(Debug)]
pub(crate) struct Released {
    region: Region,
    run: usize,
    stream: usize,
    used: [usize; SLOTS],
}

impl Journal {
    /// A journal in this file, whose runs have these parts: a head, and two streams.
    pub(crate) fn new(file: File, runs: Vec<(Region, [Region; 2])>) -> Self {
        let runs = runs.into_iter().map(|(head, streams)| Place { head, streams: streams.map(Some) });
        Self { file, runs: Mutex::new(runs.collect()) }
    }

    /// The stream can be used by another run.
    pub(crate) fn give_back(&self, run: usize, stream: usize, region: Region) {
        self.runs()[run].streams[stream] = Some(region);
    }

    /// A place for a run that is about to start. `None` if all are taken: as many runs have not ended yet. `release` gets each stream that
    /// is not read any more.
    pub(crate) fn begin(
        self: &Arc<Self>,
        release: impl Fn(Released) + Send + Sync + 'static,
    ) -> Option<RunJournal> {
        let release = Release(Arc::new(release));
        let mut runs = self.runs();
        let free = |place: &Place| place.streams.iter().all(Option::is_some);
        let place = runs.iter().position(free)?;
        let order = Arc::new(AtomicU64::new(0));
        let [stdout, stderr] = &mut runs[place].streams;
        let stream = |region: &mut Option<Region>, stream| StreamJournal {
            region: region.take(),
            run: place,
            stream,
            written: Arc::default(),
            prepared: 0,
            filled: 0,
            used: [0; SLOTS],
            begun: Begun::default(),
            order: Arc::clone(&order),
            release: release.clone(),
        };
        let streams = [stream(stdout, 0), stream(stderr, 1)];
        Some(RunJournal { journal: Arc::clone(self), place, streams })
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Place>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunJournal {
    /// Tells the guard the token of the run, which it must not write.
    pub(crate) fn set_token(&self, token: Option<&Token>) {
        let mut runs = self.journal.runs();
        let bytes = runs[self.place].head.bytes();
        let place = &mut bytes[TOKEN..TOKEN + TOKEN_SIZE];
        match token {
            Some(token) => place.copy_from_slice(token.reveal().as_bytes()),
            None => place.fill(0),
        }
    }

    /// Sets the number of the run, before it starts.
    pub(crate) fn set_run(&self, run: u64) {
        self.journal.runs()[self.place].head.publish(0, run);
    }

    /// What the guard needs: the memory, and the place of the run in it.
    pub(crate) fn for_guard(&self) -> io::Result<(File, usize)> {
        Ok((self.journal.file.try_clone()?, self.place))
    }
}

impl StreamJournal {
    /// Whether there is a free slot.
    pub(crate) fn has_room(&self) -> bool {
        let next = self.filled + 1;
        next <= SLOTS as u64 || self.written.load(Ordering::Acquire) >= next - SLOTS as u64
    }

    /// The memory for the next read. `None` without a free slot.
    pub(crate) fn buffer(&mut self) -> Option<&mut [u8]> {
        if self.prepared == self.filled {
            if !self.has_room() {
                return None;
            }
            self.prepare();
        }
        let (begun, _) = self.begun.parts();
        let (start, carry) = (start(self.prepared), begun.len());
        let bytes = self.region.as_mut()?.bytes();
        Some(&mut bytes[start + SLOT_HEAD + carry..start + SLOT_HEAD + carry + PIECE])
    }

    fn prepare(&mut self) {
        let Some(region) = &mut self.region else { return };
        let number = self.prepared + 1;
        let (start, (begun, dropped)) = (start(number), self.begun.parts());
        let used = &mut self.used[index(number)];
        let slot = &mut region.bytes()[start..start + SLOT];
        slot[SLOT_HEAD..SLOT_HEAD + *used].fill(0);
        *used = begun.len();
        slot[SLOT_HEAD..SLOT_HEAD + begun.len()].copy_from_slice(begun);
        put(slot, slot::CARRY, begun.len() as u64);
        put(slot, slot::DROPPED, dropped);
        put(slot, slot::END, 0);
        region.publish(0, number);
        self.prepared = number;
    }

    /// The memory that [`buffer`](Self::buffer) returned has so many new bytes.
    pub(crate) fn filled(&mut self, count: usize) -> Option<(Slot, &[u8])> {
        let place = self.fill(count, false)?;
        let begun = self.begun.parts().0.len();
        let start = start(self.filled) + SLOT_HEAD + begun;
        let bytes = &self.region.as_mut()?.bytes()[start..start + count];
        self.used[index(self.filled)] = begun + count;
        self.begun.skip(bytes);
        Some((place, bytes))
    }

    /// The stream has ended, or what it has begun is a line now.
    pub(crate) fn end(&mut self) -> Option<Slot> {
        if self.prepared == self.filled {
            if !self.has_room() {
                return None;
            }
            self.prepare();
        }
        let place = self.fill(0, true);
        self.begun = Begun::default();
        place
    }

    /// Takes bytes that were read to other memory.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        self.begun.skip(bytes);
        if let Some(region) = &mut self.region {
            // What the last slot has begun does not go on with what the guard reads.
            region.publish(SKIPPED, self.filled);
        }
    }

    fn fill(&mut self, count: usize, end: bool) -> Option<Slot> {
        let region = self.region.as_mut()?;
        let start = start(self.prepared);
        let slot = &mut region.bytes()[start..start + SLOT_HEAD];
        put(slot, slot::AT, now_ms());
        put(slot, slot::ORDER, self.order.fetch_add(1, Ordering::Relaxed));
        put(slot, slot::READ, count as u64);
        put(slot, slot::END, end.into());
        region.publish(FILLED, self.prepared);
        self.filled = self.prepared;
        let (run, stream, number) = (self.run, self.stream, self.filled);
        Some(Slot { run, stream, number, written: Arc::clone(&self.written) })
    }
}

impl Drop for StreamJournal {
    fn drop(&mut self) {
        if let Some(region) = self.region.take() {
            let (run, stream, used) = (self.run, self.stream, self.used);
            (self.release.0)(Released { region, run, stream, used });
        }
    }
}

impl Released {
    /// Whether this slot is one of the stream.
    pub(crate) fn has(&self, slot: &Slot) -> bool {
        self.place() == (slot.run, slot.stream)
    }

    /// The run and the stream.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.run, self.stream)
    }

    /// Removes all that was read.
    pub(crate) fn clear(self) -> Region {
        let Self { mut region, used, .. } = self;
        region.publish(0, 0);
        region.publish(FILLED, 0);
        region.publish(SKIPPED, 0);
        for (number, used) in used.into_iter().enumerate() {
            let start = STREAM_HEAD + number * SLOT + SLOT_HEAD;
            region.bytes()[start..start + used].fill(0);
        }
        region
    }
}

impl Slot {
    /// Its lines are written, and it may be used again.
    pub(crate) fn set_written(&self) {
        self.written.store(self.number, Ordering::Release);
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or_default()
}

/// Where the slot begins in the memory of its stream.
fn start(number: u64) -> usize {
    STREAM_HEAD + index(number) * SLOT
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use pillion_guard::log_lines::journal::{RUN, RUN_HEAD, STREAM, Written, unwritten};

    use super::*;
    use crate::sys::shared_memory;

    #[test]
    fn the_guard_joins_no_bytes_over_a_read_to_other_memory() {
        let sizes = [RUN_HEAD, STREAM, STREAM, RUN - RUN_HEAD - 2 * STREAM];
        let (file, regions) = shared_memory(&sizes).unwrap();
        let [head, stdout, stderr, _] = regions.try_into().unwrap();
        let journal = Arc::new(Journal::new(file, vec![(head, [stdout, stderr])]));
        let mut run = journal.begin(|_| ()).unwrap();
        let [stdout, _] = &mut run.streams;
        let read = |stdout: &mut StreamJournal| {
            stdout.buffer().unwrap()[0] = b'x';
            assert!(stdout.filled(1).is_some());
        };
        let pieces = || {
            let mut content = vec![0; RUN];
            journal.file.read_exact_at(&mut content, 0).unwrap();
            let pieces = unwritten(&content, &[Written::default(); 2]);
            pieces.into_iter().map(|piece| (piece.carry.0.to_vec(), piece.end)).collect::<Vec<_>>()
        };
        read(stdout);
        assert_eq!(pieces(), [(b"".to_vec(), false)]);
        stdout.skip(b"c\nd");
        assert_eq!(pieces(), [(b"".to_vec(), true)]);
        read(stdout);
        assert_eq!(pieces(), [(b"".to_vec(), false), (b"d".to_vec(), false)]);
    }
}
