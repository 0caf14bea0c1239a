//! The last exit reports of one sidecar.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

pub(crate) use super::report_folder::RunFile;
use super::{
    event_channel::WeakEventSender,
    events::SidecarEvent,
    exit_report::ExitReport,
    report_folder::{MAX_REPORTS, ReportFolder},
    unfinished_run::Head,
};
use crate::sys::on_thread;

/// How often, and how many times, a start looks again at runs that a guard has not ended yet.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const MAX_LOOKS: u32 = 60;

/// The last exit reports of one sidecar. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ExitReports(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: Option<ReportFolder>,
    kept: Mutex<Kept>,
    /// Tells those that wait that the files are read.
    loaded: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    /// Newest last.
    reports: VecDeque<Arc<ExitReport>>,
    /// Whether the files of earlier runs were read, if there are any.
    loaded: bool,
}

impl ExitReports {
    /// With a folder, the reports are kept there as well.
    pub(crate) fn new(sidecar: &str, folder: Option<&Path>) -> Self {
        let folder = folder.map(|folder| ReportFolder::new(folder, sidecar));
        let loaded = folder.is_none();
        let kept = Mutex::new(Kept { reports: VecDeque::new(), loaded });
        Self(Arc::new(Shared { folder, kept, loaded: Notify::new() }))
    }

    /// Creates the file of a run, from which the next start of the app learns of its end if the app dies. `None` if no reports are kept as
    /// files. Blocks.
    pub(crate) fn begin(&self, head: &Head, number: u64) -> Option<io::Result<RunFile>> {
        self.0.folder.as_ref().map(|folder| {
            let explain = |error| io::Error::other(format!("{}: {error}", folder.path().display()));
            folder.begin(head, number).map_err(explain)
        })
    }

    /// Adds the report in memory.
    pub(crate) fn add(&self, report: Arc<ExitReport>) {
        self.0.lock().add(report);
    }

    /// Replaces the file of the run by its report. Blocks.
    pub(crate) fn save(&self, run: &RunFile, report: &ExitReport) -> io::Result<()> {
        self.0.folder.as_ref().map_or(Ok(()), |folder| folder.finish(run, report))
    }

    /// All reports, newest last, as soon as the files are read.
    pub(crate) async fn all(&self) -> Vec<ExitReport> {
        loop {
            // Before the look, so that it hears of a change after it.
            let loaded = self.0.loaded.notified();
            if let Some(reports) = self.0.lock().all() {
                return reports;
            }
            loaded.await;
        }
    }

    /// Reads the files, and reports the runs that have ended without their app. Some may be ending still: looks again for a minute.
    pub(crate) async fn load(self, events: WeakEventSender<SidecarEvent>) {
        for look in 0..MAX_LOOKS {
            let shared = Arc::clone(&self.0);
            let read = on_thread(move || shared.folder.as_ref().map(ReportFolder::load)).await.flatten();
            let loaded = match read {
                Some(Ok(loaded)) => loaded,
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot read the exit reports of earlier runs");
                    Default::default()
                }
                None => Default::default(),
            };
            let concluded: Vec<_> = loaded.concluded.into_iter().map(Arc::new).collect();
            self.0.lock().add_loaded(loaded.reports, &concluded);
            self.0.loaded.notify_waiters();
            for report in concluded {
                tracing::warn!(sidecar = report.sidecar, "{}", report.summary());
                if let Some(events) = events.upgrade() {
                    events.send(SidecarEvent::Ended(report));
                }
            }
            if !loaded.unfinished || look + 1 == MAX_LOOKS {
                return;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// All reports, newest last. `None` until the files are read.
    fn all(&self) -> Option<Vec<ExitReport>> {
        self.loaded.then(|| self.reports.iter().map(|report| ExitReport::clone(report)).collect())
    }

    /// Adds what was read of the files: the first time all reports, and then those of the runs that were `concluded` since.
    fn add_loaded(&mut self, earlier: Vec<ExitReport>, concluded: &[Arc<ExitReport>]) {
        let first = !std::mem::replace(&mut self.loaded, true);
        if first {
            self.add_earlier(earlier);
        } else {
            concluded.iter().for_each(|report| self.add(Arc::clone(report)));
        }
    }

    fn add(&mut self, report: Arc<ExitReport>) {
        self.reports.push_back(report);
        while self.reports.len() > MAX_REPORTS {
            self.reports.pop_front();
        }
    }

    /// Adds the reports of the files before those of this program. Reports that this program has written meanwhile are there already.
    fn add_earlier(&mut self, earlier: Vec<ExitReport>) {
        let known = |report: &ExitReport| self.reports.iter().any(|known| **known == *report);
        let earlier: Vec<_> = earlier.into_iter().filter(|report| !known(report)).map(Arc::new).collect();
        for report in earlier.into_iter().rev() {
            if self.reports.len() < MAX_REPORTS {
                self.reports.push_front(report);
            }
        }
    }
}
