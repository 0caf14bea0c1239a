//! When an app starts its processes, seen from outside by its list of children.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{collector::Steps, processes::now};

/// The pause between two looks, and so the resolution.
const INTERVAL: Duration = Duration::from_millis(1);

/// Watches for the children of one app.
#[derive(Debug)]
pub(crate) struct Births {
    ended: Arc<AtomicBool>,
    /// Returns the time at which each child was first seen, by its process id.
    watcher: JoinHandle<BTreeMap<String, f64>>,
}

impl Births {
    pub(crate) fn watch(app: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let tasks = PathBuf::from(format!("/proc/{app}/task"));
        let until = Arc::clone(&ended);
        let watcher = thread::spawn(move || {
            let mut seen = BTreeMap::new();
            loop {
                // The last look begins after the end, and so sees every child that lives then.
                let is_last = until.load(Ordering::Relaxed);
                for child in children(&tasks) {
                    seen.entry(child).or_insert_with(now);
                }
                if is_last {
                    return seen;
                }
                thread::sleep(INTERVAL);
            }
        });
        Self { ended, watcher }
    }

    /// Ends the watch, and returns the first start of each program by its name, which the kernel cuts off after 15 bytes. A process that
    /// has ended is left out.
    pub(crate) fn end(self) -> Steps {
        self.ended.store(true, Ordering::Relaxed);
        let mut births = Steps::new();
        for (child, at) in self.watcher.join().unwrap_or_default() {
            if let Ok(name) = fs::read_to_string(format!("/proc/{child}/comm")) {
                let first = births.entry(name.trim_end().to_owned()).or_insert(at);
                *first = first.min(at);
            }
        }
        births
    }
}

/// The ids of the processes that the threads in `tasks` have started (`proc_pid_task(5)`).
fn children(tasks: &Path) -> Vec<String> {
    let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::{super::processes::LaunchedApp, *};

    #[test]
    fn a_child_is_seen_by_the_name_of_its_program() {
        let births = Births::watch(process::id());
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let child = LaunchedApp::start(sleep).unwrap();
        let births = births.end();
        assert!(births["sleep"] >= child.spawned_at, "{births:?}");
    }
}
