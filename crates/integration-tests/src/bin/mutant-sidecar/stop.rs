//! What asks the sidecar to stop (docs/protocol.md, section 3).

use std::{
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::exit,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FileType, fstat};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::Mutation;

/// How long requests in flight may take after the request to stop.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Stop {
    asked: Arc<Asked>,
    /// Becomes readable when the sidecar was asked.
    pub(crate) wake: UnixStream,
    in_flight: Mutex<usize>,
    finished: Condvar,
    served: AtomicUsize,
}

#[derive(Debug)]
struct Asked {
    /// Closed to wake.
    waker: Mutex<Option<UnixStream>>,
    /// The signal that asked; 0: the end of stdin; -1: not asked.
    by: AtomicI32,
    /// The lifeline has ended: a signal then asks once more, and cuts nothing.
    lifeline_ended: AtomicBool,
}

impl Asked {
    fn ask(&self, by: i32) {
        let _ = self.by.compare_exchange(-1, by, Ordering::SeqCst, Ordering::SeqCst);
        self.waker.lock().unwrap().take();
    }
}

impl Stop {
    /// Watches the signals, on a thread.
    pub(crate) fn watch(mutation: &Mutation) -> Self {
        let (wake, waker) = UnixStream::pair().unwrap();
        let asked = Arc::new(Asked {
            waker: Mutex::new(Some(waker)),
            by: AtomicI32::new(-1),
            lifeline_ended: AtomicBool::new(false),
        });
        let mut signals = Signals::new([SIGTERM, SIGINT]).unwrap();
        let (mutation, on_signal) = (mutation.clone(), Arc::clone(&asked));
        thread::spawn(move || {
            let mut count = 0;
            for signal in &mut signals {
                if mutation.is("sigterm-ignored") && signal == SIGTERM
                    || mutation.is("sigint-ignored") && signal == SIGINT
                {
                    continue;
                }
                count += 1;
                if mutation.is("no-drain") {
                    exit(0);
                }
                let lifeline_ended = on_signal.lifeline_ended.load(Ordering::SeqCst);
                if lifeline_ended && mutation.is("exits-on-signal-after-lifeline") {
                    exit(0);
                }
                if count == 2 && !lifeline_ended && !mutation.is("one-signal") {
                    exit(128 + signal);
                }
                on_signal.ask(signal);
            }
        });
        Self { asked, wake, in_flight: Mutex::new(0), finished: Condvar::new(), served: AtomicUsize::new(0) }
    }

    /// Watches stdin, on a thread, if it is a pipe or a socket.
    pub(crate) fn watch_stdin(&self, mutation: &Mutation) {
        let stdin = io::stdin();
        let kind = FileType::from_raw_mode(fstat(stdin.as_fd()).unwrap().st_mode);
        match kind {
            FileType::Fifo if mutation.is("pipe-ignored") => return,
            FileType::Socket if mutation.is("socket-ignored") => return,
            FileType::Fifo | FileType::Socket => {}
            FileType::CharacterDevice if mutation.is("dev-null-is-a-lifeline") => return self.asked.ask(0),
            _ => return,
        }
        let (mutation, asked) = (mutation.clone(), Arc::clone(&self.asked));
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(1..) = io::stdin().read(&mut bytes) {
                if mutation.is("stops-at-bytes") {
                    break;
                }
                if mutation.is("reads-once") {
                    return;
                }
            }
            asked.lifeline_ended.store(true, Ordering::SeqCst);
            asked.ask(0);
        });
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.by.load(Ordering::SeqCst) >= 0
    }

    /// Counts a request from its first byte to its answer.
    pub(crate) fn begin_request(&self) {
        *self.in_flight.lock().unwrap() += 1;
    }

    pub(crate) fn end_request(&self) {
        *self.in_flight.lock().unwrap() -= 1;
        self.served.fetch_add(1, Ordering::Relaxed);
        self.finished.notify_all();
    }

    /// Waits for the requests in flight, up to the grace period.
    pub(crate) fn drain(&self, mutation: &Mutation) {
        let deadline = Instant::now() + GRACE;
        let mut in_flight = self.in_flight.lock().unwrap();
        while *in_flight > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if mutation.is("no-deadline") {
                in_flight = self.finished.wait(in_flight).unwrap();
            } else if left.is_zero() {
                break;
            } else {
                in_flight = self.finished.wait_timeout(in_flight, left).unwrap().0;
            }
        }
    }

    /// Takes longer than the grace period, without a request in flight.
    pub(crate) fn linger(&self, mutation: &Mutation) {
        if mutation.is("slow-to-end-on-sigint") && self.asked.by.load(Ordering::SeqCst) == SIGINT {
            thread::sleep(Duration::from_secs(7));
        }
    }

    pub(crate) fn status(&self, mutation: &Mutation) -> i32 {
        let by = self.asked.by.load(Ordering::SeqCst);
        let wrong = mutation.is("exit-1-on-sigterm") && by == SIGTERM
            || mutation.is("exit-1-on-sigint") && by == SIGINT
            || mutation.is("exit-1-on-lifeline") && by == 0;
        i32::from(wrong)
    }
}
