//! The threads for work that blocks. A program that starts a thousand sidecars at once does not get a thousand threads: each costs memory
//! that the allocator keeps, and many that run at once only hinder each other.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Those of this program.
pub(super) static WORK_THREADS: WorkThreads =
    WorkThreads::new(8, Duration::from_millis(10), Duration::from_secs(1));

type Work = Box<dyn FnOnce() + Send>;

/// Threads that end when nothing has been left to do for a while.
#[derive(Debug)]
pub(super) struct WorkThreads {
    /// So many threads work before work has to wait for one of them.
    limit: usize,
    /// If work waits, and none was finished for so long, there is one more thread: work that hangs, as on a slow disk, must not keep the rest
    /// from its turn.
    patience: Duration,
    /// How long a thread waits for more work: to start one takes longer than to wake one, and a launch waits for it.
    idle_time: Duration,
    state: Mutex<State>,
    /// An idle thread has something to do.
    added: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    /// The number of threads.
    threads: usize,
    /// How many of them wait for work. One that was woken counts until it runs: its work is among that which waits. So does one that
    /// does what comes first.
    idle: usize,
    /// How much work was finished.
    finished: u64,
    /// Whether a thread looks whether the others make progress.
    watched: bool,
}

impl WorkThreads {
    const fn new(limit: usize, patience: Duration, idle_time: Duration) -> Self {
        let state = State { waiting: VecDeque::new(), threads: 0, idle: 0, finished: 0, watched: false };
        Self { limit, patience, idle_time, state: Mutex::new(state), added: Condvar::new() }
    }

    /// Does this work as soon as possible. It is dropped if the system allows no thread at all.
    pub(super) fn add(&'static self, work: Work) {
        let mut state = self.lock();
        state.waiting.push_back(work);
        if state.waiting.len() <= state.idle {
            drop(state);
            self.added.notify_one();
        } else if state.threads < self.limit {
            state.threads += 1;
            drop(state);
            self.start_thread();
        } else if !std::mem::replace(&mut state.watched, true) {
            drop(state);
            self.start(Self::watch, |state| state.watched = false);
        }
    }

    /// Does this first, which is short, if there is no thread yet. Work that comes meanwhile waits for its thread: to start another one
    /// would take longer, and that work needs what is done first.
    #[cfg(any(target_os = "linux", test))]
    pub(super) fn prepare(&'static self, first: Work) {
        let mut state = self.lock();
        if state.threads > 0 {
            drop(state);
            return self.add(first);
        }
        (state.threads, state.idle) = (1, 1);
        drop(state);
        let run = |threads: &'static Self| {
            let _ = catch_unwind(AssertUnwindSafe(first));
            threads.lock().idle -= 1;
            threads.work();
        };
        self.start(run, |state| {
            state.threads -= 1;
            state.idle -= 1;
        });
    }

    /// Starts a thread, which is counted already.
    fn start_thread(&'static self) {
        self.start(Self::work, |state| state.threads -= 1);
    }

    /// Starts a thread that does this, or else corrects the state. Work that no thread is left for is dropped.
    fn start(&'static self, run: impl FnOnce(&'static Self) + Send + 'static, not_started: fn(&mut State)) {
        let started = thread::Builder::new().name("pillion-work".to_owned()).spawn(move || run(self));
        if started.is_err() {
            let mut state = self.lock();
            not_started(&mut state);
            let dropped =
                if state.threads == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
            drop(state);
            drop(dropped);
        }
    }

    /// Works until nothing has waited for the idle time.
    fn work(&'static self) {
        let mut state = self.lock();
        loop {
            while let Some(work) = state.waiting.pop_front() {
                drop(state);
                // Who waits for the result of work that panics learns that there is none.
                let _ = catch_unwind(AssertUnwindSafe(work));
                state = self.lock();
                state.finished += 1;
            }
            // Those that were started because others hung are not kept.
            if state.threads > self.limit {
                break;
            }
            state.idle += 1;
            let nothing = |state: &mut State| state.waiting.is_empty();
            let waited = self.added.wait_timeout_while(state, self.idle_time, nothing);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Starts one more thread each time that no work was finished for a while, until none waits.
    fn watch(&'static self) {
        let mut seen = self.lock().finished;
        loop {
            thread::sleep(self.patience);
            let mut state = self.lock();
            if state.waiting.is_empty() {
                state.watched = false;
                return;
            }
            let hangs = std::mem::replace(&mut seen, state.finished) == state.finished;
            if hangs {
                state.threads += 1;
                drop(state);
                self.start_thread();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} threads, {} wait", self.threads, self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    const LIMIT: usize = 3;

    fn threads(patience: Duration, idle_time: Duration) -> &'static WorkThreads {
        Box::leak(Box::new(WorkThreads::new(LIMIT, patience, idle_time)))
    }

    #[test]
    fn no_more_threads_work_at_once_than_allowed_while_work_is_finished() {
        let threads = threads(Duration::from_secs(3600), Duration::ZERO);
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, all_done) = mpsc::channel::<()>();
        // As many pieces of work as may be at once wait for each other.
        let together = Arc::new(Barrier::new(LIMIT));
        for _ in 0..30 * LIMIT {
            let (at_once, most, done) = (Arc::clone(&at_once), Arc::clone(&most), done.clone());
            let together = Arc::clone(&together);
            threads.add(Box::new(move || {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                together.wait();
                at_once.fetch_sub(1, Ordering::SeqCst);
                drop(done);
            }));
        }
        drop(done);
        // All are done.
        all_done.recv().unwrap_err();
        assert_eq!(most.load(Ordering::SeqCst), LIMIT);
    }

    #[test]
    fn work_that_hangs_or_panics_keeps_no_other_from_its_turn() {
        let threads = threads(Duration::from_millis(1), Duration::from_millis(1));
        let hang = Arc::new(Barrier::new(2 * LIMIT + 1));
        for _ in 0..2 * LIMIT {
            let hang = Arc::clone(&hang);
            threads.add(Box::new(move || {
                hang.wait();
            }));
        }
        threads.add(Box::new(|| panic!("on purpose")));
        let (done, is_done) = mpsc::channel();
        threads.add(Box::new(move || done.send(()).unwrap()));
        is_done.recv().unwrap();
        hang.wait();
        while threads.lock().threads > 0 || threads.lock().watched {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Does work on one of the threads. Returns which thread it was.
    fn work_on(threads: &'static WorkThreads) -> thread::ThreadId {
        let (done, is_done) = mpsc::channel();
        threads.add(Box::new(move || done.send(thread::current().id()).unwrap()));
        is_done.recv().unwrap()
    }

    #[test]
    fn an_idle_thread_gets_the_next_work_and_ends_at_last() {
        let kept = threads(Duration::from_secs(3600), Duration::from_secs(3600));
        let first = work_on(kept);
        for _ in 0..30 {
            while kept.lock().idle == 0 {
                thread::yield_now();
            }
            assert_eq!(work_on(kept), first);
        }
        assert_eq!(kept.lock().threads, 1);
        let ending = threads(Duration::from_secs(3600), Duration::from_millis(1));
        work_on(ending);
        while ending.lock().threads > 0 {
            thread::yield_now();
        }
        work_on(ending);
    }

    #[test]
    fn work_that_comes_during_the_preparation_waits_for_its_thread() {
        let threads = threads(Duration::from_secs(3600), Duration::from_secs(3600));
        let (prepared, done) = mpsc::channel();
        let (go, begin) = mpsc::channel::<()>();
        let was_prepared = prepared.clone();
        threads.prepare(Box::new(move || {
            begin.recv().unwrap();
            was_prepared.send(thread::current().id()).unwrap();
            panic!("on purpose");
        }));
        threads.add(Box::new(move || prepared.send(thread::current().id()).unwrap()));
        assert_eq!(threads.lock().threads, 1);
        go.send(()).unwrap();
        assert_eq!(done.recv().unwrap(), done.recv().unwrap());
        // With a thread there, it is work like any other.
        let (also, is_done) = mpsc::channel();
        threads.prepare(Box::new(move || also.send(()).unwrap()));
        is_done.recv().unwrap();
    }

    #[test]
    fn work_that_comes_while_an_idle_thread_wakes_gets_a_thread_of_its_own() {
        let threads = threads(Duration::from_secs(3600), Duration::from_secs(3600));
        work_on(threads);
        while threads.lock().idle == 0 {
            thread::yield_now();
        }
        // All must work at once.
        let together = Arc::new(Barrier::new(LIMIT + 1));
        for _ in 0..LIMIT {
            let together = Arc::clone(&together);
            threads.add(Box::new(move || {
                together.wait();
            }));
        }
        together.wait();
    }
}
