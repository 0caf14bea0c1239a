//! What a running program has done so far, filled by the threads that read from it.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pillion::{Exit, protocol};
use protocol::{Announcement, LineFramer, ListenAddr};

/// What is known of a program.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// How many of its two streams have ended.
    pub(super) ended_streams: u8,
    /// The first announcement, and when it came.
    pub(super) announced: Option<(ListenAddr, Instant)>,
    pub(super) pid: Option<u32>,
    pub(super) exit: Option<(Exit, Instant)>,
    /// Why the program could not be started.
    pub(super) failed: Option<String>,
    /// The holder has closed the socket.
    pub(super) holder_gone: bool,
}

/// Shares what is known, and wakes those who wait for more.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Stdout,
    Stderr,
}

impl Watch {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }

    /// Waits until `look` finds something, for at most `limit`.
    pub(super) fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut seen = self.seen();
        loop {
            if let Some(found) = look(&seen) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Reads a stream of the program to its end, on a thread of its own.
    pub(super) fn read(self: &Arc<Self>, mut stream: impl Read + Send + 'static, output: Output) {
        let watch = Arc::clone(self);
        thread::spawn(move || {
            let mut framer = LineFramer::new(protocol::defaults::LINE_LIMIT);
            let mut bytes = [0; 16 * 1024];
            while let Ok(count @ 1..) = stream.read(&mut bytes) {
                let mut announced = None;
                if output == Output::Stdout {
                    framer.feed(&bytes[..count], |line| {
                        if let Some(Announcement::Address(addr)) = Announcement::read(&line) {
                            announced.get_or_insert((addr, Instant::now()));
                        }
                    });
                }
                watch.change(|seen| {
                    let to = if output == Output::Stdout { &mut seen.stdout } else { &mut seen.stderr };
                    to.extend_from_slice(&bytes[..count]);
                    seen.announced = seen.announced.or(announced);
                });
            }
            watch.change(|seen| seen.ended_streams += 1);
        });
    }

    /// Reads the lines of the holder, on a thread of its own.
    pub(super) fn listen(self: &Arc<Self>, holder: UnixStream) {
        let watch = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(holder).lines().map_while(Result::ok) {
                let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
                let number: i32 = rest.parse().unwrap_or_default();
                watch.change(|seen| match word {
                    "pid" => seen.pid = rest.parse().ok(),
                    "failed" => seen.failed = Some(rest.to_owned()),
                    "exited" => seen.exit = Some((Exit::with_code(number), Instant::now())),
                    "signalled" => seen.exit = Some((Exit::with_signal(number), Instant::now())),
                    _ => {}
                });
            }
            watch.change(|seen| seen.holder_gone = true);
        });
    }
}
