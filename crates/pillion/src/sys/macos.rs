//! SIGCHLD, and the kernel's list of a process group. Type-checked only; never run on a Mac.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pillion_guard::processes::{self, Process};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::Mutex,
};

/// How often a list of processes is read anew.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long the marked are killed at most.
const KILLING: Duration = Duration::from_secs(10);

/// Tells when a child may have died: SIGCHLD, which tokio hands to every listener.
#[derive(Debug)]
pub(super) struct Watch(Mutex<unix::Signal>);

impl Watch {
    pub(super) fn new(_leader: Pid) -> io::Result<Self> {
        signal(SignalKind::child()).map(|signal| Self(Mutex::new(signal)))
    }

    pub(super) async fn changed(&self) {
        self.0.lock().await.recv().await;
    }
}

/// The processes of a group, without its leader.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let mut pids = [0_i32; 1024];
    let size = size_of_val(&pids);
    #[expect(unsafe_code, reason = "libc has no safe form of it")]
    // SAFETY: the kernel writes at most `size` bytes of process ids to `pids`, which is that large and aligned.
    let found = unsafe {
        libc::proc_listpgrppids(
            group.as_raw_nonzero().get(),
            pids.as_mut_ptr().cast(),
            i32::try_from(size).unwrap_or(i32::MAX),
        )
    };
    let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
    Ok(pids.iter().take(found).filter_map(|pid| Pid::from_raw(*pid)).filter(|pid| *pid != group).collect())
}

/// Waits a moment: the caller looks again.
pub(super) async fn any_of_these_changed(_group: Pid, _members: Vec<Pid>) {
    tokio::time::sleep(LOOK_AGAIN).await;
}

/// The guard's program as something that can be started, for as long as this exists.
#[derive(Debug)]
pub(super) struct Executable {
    path: PathBuf,
    /// Removes itself when it is dropped; the guard runs on, because its file is open.
    _directory: TempDir,
}

impl Executable {
    /// Writes it to a file in a directory that is ours alone, because there is no memory here that could be executed.
    /// Where a program may not execute what it has written, as in the App Sandbox, it is the start that fails.
    pub(super) fn new(bytes: &[u8]) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pillion-guard-").tempdir()?;
        let path = directory.path().join("pillion-guard");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
        file.write_all(bytes)?;
        Ok(Self { path, _directory: directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Kills every process with this entry in its environment, until there is none; after a while it gives up. Who has it was
/// started by us or by one of ours, whatever it has done to its parents since. What belongs to the system itself may hide
/// its environment.
pub(super) fn kill_marked(mark: &str) {
    let deadline = Instant::now() + KILLING;
    // Each round kills what the one before has started in the meantime; nobody forks faster for ever.
    while Instant::now() < deadline {
        let marked = Process::with_variable(&Process::all(), mark.as_bytes());
        if marked.is_empty() {
            return;
        }
        for process in &marked {
            processes::signal(process.pid, process.born, Signal::KILL.as_raw());
        }
        // No event tells of the death of somebody else's child.
        std::thread::sleep(LOOK_AGAIN);
    }
}
