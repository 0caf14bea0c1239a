//! What the processes of a sidecar use, measured only while a reader waits for it.
//!
//! The documentation of the fields is copied into the TypeScript types, so it names no Rust item.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};

use super::snapshot::{Measured, Snapshot};
use crate::{
    status::MemoryKind,
    sys::{TreeUsage, on_thread},
    wall_clock::now_ms,
};

/// What all processes of a sidecar use at one moment. A field is `None` if the system does not tell it, and if no process runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Usage {
    /// The name of the sidecar.
    pub sidecar: String,
    /// When it was measured, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// The run, counted from 1 since the app started. `None` if no process of the app runs: the sidecar is down, or another program has
    /// started it.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub run: Option<u64>,
    /// The share of processor time since the value before, in percent of one processor: 250 is two and a half. `None` in the first
    /// value of a run.
    pub cpu_percent: Option<f64>,
    /// The processor time of the run so far, user and system, in milliseconds; also that of processes that have ended, unless their own
    /// parent ignored their end (SIGCHLD, wait(2)).
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub cpu_time_ms: Option<u64>,
    /// The memory of all processes together, in bytes.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub memory: Option<u64>,
    /// What `memory` counts.
    pub memory_kind: Option<MemoryKind>,
    /// The number of processes.
    pub processes: Option<u32>,
    /// The number of open file descriptors of all processes together; on Windows that of their handles.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub descriptors: Option<u64>,
}

/// The longest interval: an `Instant` cannot be as late as one pleases.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a sidecar uses, again and again, while the caller waits for the next value.
///
/// Nothing is measured between two calls of [`next`](Self::next), and nothing after the watch was dropped. All watches of a sidecar share
/// their measurements: there are at most two a second, however many watches exist.
///
/// ```no_run
/// # async fn example(backend: pillion::Supervisor) {
/// let mut usage = backend.usage();
/// while let Some(usage) = usage.next().await {
///     if let (Some(cpu), Some(memory)) = (usage.cpu_percent, usage.memory) {
///         println!("{cpu:.1} % of a processor, {} MiB", memory >> 20);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct UsageWatch {
    sidecar: String,
    snapshot: watch::Receiver<Snapshot>,
    measured: LastMeasurement,
    interval: Duration,
    /// When the next value is due.
    due: Instant,
    /// Which processes the last value is about; `None` before the first value.
    seen: Option<Subject>,
    last: Option<Arc<Measurement>>,
}

/// The last measurement of a sidecar. Its lock is held during a measurement, so that others wait for the same one.
pub(crate) type LastMeasurement = Arc<Mutex<Option<Arc<Measurement>>>>;

/// The run that has processes, if one has.
type Subject = Option<u64>;

#[derive(Debug)]
pub(crate) struct Measurement {
    /// Which run, among all runs of this program.
    run: u64,
    began: Instant,
    at: u64,
    used: TreeUsage,
}

impl UsageWatch {
    /// The interval of a new watch.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
    /// The shortest interval.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(500);

    pub(crate) fn new(
        sidecar: String,
        snapshot: watch::Receiver<Snapshot>,
        measured: LastMeasurement,
    ) -> Self {
        let (interval, due) = (Self::DEFAULT_INTERVAL, Instant::now());
        Self { sidecar, snapshot, measured, interval, due, seen: None, last: None }
    }

    /// Sets the time between two values. It is [`MIN_INTERVAL`](Self::MIN_INTERVAL) at least, and at most a year: another one is changed
    /// to that.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(Self::MIN_INTERVAL, MAX_INTERVAL);
        self
    }

    /// Waits for the next value. The first one comes at once, as does the one after a change of the run. When the sidecar has no process,
    /// one value without figures says so, and the next one comes when a process runs again. Returns `None` when the sidecar is down and
    /// every handle to it is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Usage> {
        loop {
            let (subject, group) = subject(&self.snapshot.borrow());
            if self.seen == Some(subject) {
                let due = self.due;
                let change = self.snapshot.wait_for(|snapshot| self::subject(snapshot).0 != subject);
                tokio::select! {
                    changed = change => {
                        changed.ok()?;
                        continue;
                    }
                    () = tokio::time::sleep_until(due), if group.is_some() => {}
                }
            }
            let Some((run, measured)) = subject.zip(group) else {
                (self.seen, self.last) = (Some(subject), None);
                return Some(self.tell(None, now_ms(), None, &TreeUsage::default()));
            };
            let tree = || measured.group.upgrade().map(|group| group.tree());
            let measurement = measure(&self.measured, run, || tree().map(|tree| move || tree.usage())).await;
            let Some(measurement) = measurement else {
                // Its processes have just ended, or the system allows no thread. A change of the run comes earlier than this.
                (self.seen, self.due) = (Some(subject), Instant::now() + self.interval);
                continue;
            };
            (self.seen, self.due) = (Some(subject), measurement.began + self.interval);
            let last = self.last.replace(Arc::clone(&measurement));
            let percent = last.filter(|last| last.run == run).and_then(|last| measurement.since(&last));
            return Some(self.tell(Some(measured.ordinal), measurement.at, percent, &measurement.used));
        }
    }

    fn tell(&self, run: Option<u64>, at: u64, cpu_percent: Option<f64>, used: &TreeUsage) -> Usage {
        Usage {
            sidecar: self.sidecar.clone(),
            at,
            run,
            cpu_percent,
            cpu_time_ms: used.cpu_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            memory: used.memory.map(|(bytes, _)| bytes),
            memory_kind: used.memory.map(|(_, kind)| kind),
            processes: used.processes,
            descriptors: used.descriptors,
        }
    }
}

/// Measures, unless another watch has just done so. `work` gives what measures, if the processes still exist. Cancel-safe: what has begun
/// ends, and serves the next caller.
async fn measure<W: FnOnce() -> TreeUsage + Send + 'static>(
    measured: &LastMeasurement,
    run: u64,
    work: impl FnOnce() -> Option<W>,
) -> Option<Arc<Measurement>> {
    let mut measured = Arc::clone(measured).lock_owned().await;
    let last = measured.clone().filter(|last| last.run == run);
    if let Some(last) = &last
        && last.began.elapsed() < UsageWatch::MIN_INTERVAL
    {
        return Some(Arc::clone(last));
    }
    let work = work()?;
    // A task of its own holds the lock until the end of the measurement, even if this caller does not wait for it.
    let task = tokio::spawn(async move {
        let (began, at) = (Instant::now(), now_ms());
        let mut used = on_thread(work).await?;
        // A process that ends during a measurement is missing from it once. Its time was used all the same.
        used.cpu_time = used.cpu_time.max(last.and_then(|last| last.used.cpu_time));
        let measurement = Arc::new(Measurement { run, began, at, used });
        *measured = Some(Arc::clone(&measurement));
        Some(measurement)
    });
    task.await.ok()?
}

impl Measurement {
    /// The share of processor time since an earlier measurement, in percent of one processor, with one decimal. At most what the processors
    /// can do: the time that a measurement takes, and a process that it missed once, would make more of it.
    fn since(&self, earlier: &Self) -> Option<f64> {
        let wall = self.began.duration_since(earlier.began).as_secs_f64();
        let cpu = self.used.cpu_time?.saturating_sub(earlier.used.cpu_time?).as_secs_f64();
        let most = self.used.processors.map_or(f64::INFINITY, |processors| f64::from(processors) * 100.0);
        (wall > 0.0).then(|| ((cpu / wall * 1000.0).round() / 10.0).min(most))
    }
}

fn subject(snapshot: &Snapshot) -> (Subject, Option<Measured>) {
    (snapshot.measured.as_ref().map(|_| snapshot.run), snapshot.measured.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::Spec, status::State};

    #[tokio::test(start_paused = true)]
    async fn the_share_is_the_processor_time_per_time() {
        let began = Instant::now();
        let measurement = |ms, cpu| Measurement {
            run: 1,
            began: began + Duration::from_millis(ms),
            at: 0,
            used: TreeUsage { cpu_time: Some(Duration::from_millis(cpu)), ..TreeUsage::default() },
        };
        assert_eq!(measurement(2000, 4000).since(&measurement(0, 1000)), Some(150.0));
        assert_eq!(measurement(3000, 1010).since(&measurement(0, 1000)), Some(0.3));
        assert_eq!(measurement(1000, 500).since(&measurement(0, 1000)), Some(0.0));
        assert_eq!(measurement(0, 1000).since(&measurement(0, 0)), None);
        let mut of_four = measurement(1000, 600_000);
        of_four.used.processors = Some(4);
        assert_eq!(of_four.since(&measurement(0, 0)), Some(400.0));
    }

    fn used(cpu_ms: u64) -> TreeUsage {
        TreeUsage { cpu_time: Some(Duration::from_millis(cpu_ms)), ..TreeUsage::default() }
    }

    #[tokio::test]
    async fn the_processor_time_of_a_run_never_falls() {
        let last = LastMeasurement::default();
        let now = async |run, cpu| {
            if let Some(last) = &mut *last.lock().await {
                let last = Arc::get_mut(last).unwrap();
                last.began = last.began.checked_sub(UsageWatch::MIN_INTERVAL).unwrap();
            }
            measure(&last, run, || Some(move || used(cpu))).await.unwrap().used.cpu_time.unwrap().as_millis()
        };
        assert_eq!(now(1, 600_000).await, 600_000);
        assert_eq!(now(1, 20).await, 600_000, "a process was missed");
        assert_eq!(now(1, 600_010).await, 600_010);
        assert_eq!(now(2, 20).await, 20, "another run");
    }

    #[tokio::test]
    async fn a_reader_that_goes_leaves_its_measurement_to_the_next_one() {
        let last = LastMeasurement::default();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let slow = move || {
            let _ = blocked.recv();
            used(1)
        };
        {
            let first = std::pin::pin!(measure(&last, 1, || Some(slow)));
            // One poll begins the measurement.
            tokio::select! {
                biased;
                _ = first => unreachable!("it is blocked"),
                () = std::future::ready(()) => {}
            }
        }
        let second = measure(&last, 1, || Some(|| used(2)));
        drop(release);
        assert_eq!(second.await.unwrap().used, used(1), "it measured again");
    }

    #[test]
    fn an_interval_has_limits() {
        let (_, snapshot) = watch::channel(Snapshot::initial(&Spec::run("api", "./api"), State::Starting));
        let watch = UsageWatch::new("api".to_owned(), snapshot, LastMeasurement::default());
        let watch = watch.every(Duration::MAX);
        assert!(Instant::now().checked_add(watch.interval).is_some());
        assert_eq!(watch.every(Duration::ZERO).interval, UsageWatch::MIN_INTERVAL);
    }
}
