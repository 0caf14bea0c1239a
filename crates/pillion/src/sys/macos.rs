//! macOS: SIGCHLD and the kernel's list of a process group. Type-checked only; never run on a Mac.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStringExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pillion_guard::processes::{self, ProcessInfo};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::Mutex,
};

use super::Known;

/// The cache directory of the user: `_CS_DARWIN_USER_CACHE_DIR` (`confstr(3)`). Only this user can enter it, and its path is
/// short enough for a socket. `None` if the system does not tell it.
pub(super) fn user_cache_directory() -> Option<PathBuf> {
    let mut path = vec![0; 1024];
    #[expect(unsafe_code, reason = "libc offers no safe wrapper")]
    // SAFETY: the system writes at most `path.len()` bytes to `path`, and ends them with a zero.
    let length =
        unsafe { libc::confstr(libc::_CS_DARWIN_USER_CACHE_DIR, path.as_mut_ptr().cast(), path.len()) };
    // The length includes the zero; a longer path did not fit.
    path.truncate(length.checked_sub(1).filter(|length| *length < path.len())?);
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// How often to read a list of processes again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long [`sweep`] goes on at most.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Wakes when a child may have died: SIGCHLD, which tokio passes to every listener.
#[derive(Debug)]
pub(super) struct ExitWatch(Mutex<unix::Signal>);

impl ExitWatch {
    pub(super) fn new(_leader: Pid) -> io::Result<Self> {
        signal(SignalKind::child()).map(|signal| Self(Mutex::new(signal)))
    }

    pub(super) async fn changed(&self) {
        self.0.lock().await.recv().await;
    }
}

/// The kernel tells nothing of a zombie.
pub(super) fn cpu_time(_pid: Pid) -> Option<Duration> {
    None
}

/// The processes of a group, without its leader.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let mut pids = [0_i32; 1024];
    let size = size_of_val(&pids);
    #[expect(unsafe_code, reason = "libc offers no safe wrapper")]
    // SAFETY: the kernel writes at most `size` bytes of process ids to `pids`, which has that size and is aligned.
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

/// These processes: which pipes a process holds is not looked up here.
pub(super) fn without_readers(members: &[Pid]) -> Vec<Pid> {
    members.to_vec()
}

/// Sends a signal to a member of the group, unless it has died or left the group.
pub(super) fn signal_member(pid: Pid, group: Pid, signal: Signal) {
    if let Some(process) = ProcessInfo::find(pid.as_raw_nonzero().get())
        && process.group == group.as_raw_nonzero().get()
    {
        processes::signal(process.pid, process.start_time, signal.as_raw());
    }
}

/// Waits for one poll interval.
pub(super) async fn members_changed(_group: Pid, _members: Vec<Pid>) {
    tokio::time::sleep(POLL_INTERVAL).await;
}

/// A path by which the guard can be executed for as long as this value exists.
#[derive(Debug)]
pub(super) struct GuardProgram {
    path: PathBuf,
    /// Deleted on drop. A running guard is not affected: the kernel keeps its executable.
    _directory: TempDir,
}

impl GuardProgram {
    /// Writes the program to a file in a private directory: macOS cannot execute a program from memory. Where a program may
    /// not execute files that it wrote, as in the App Sandbox, executing the path fails later.
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

/// Stores the guard's program in a place.
type Store = fn(&[u8]) -> io::Result<GuardProgram>;

/// The places to store the guard's program in, the best first.
pub(super) const PLACES: [Store; 1] = [GuardProgram::new];

/// What a guard cannot do here.
pub(super) fn guard_limitation() -> Option<String> {
    None
}

/// Kills every process that has the marker in its environment or is remembered, until none is left or [`SWEEP_TIMEOUT`] is
/// over. Each of them descends from this program, whatever its parent is now. Programs of the system itself may hide their
/// environment. Blocks.
pub(super) fn sweep(known: &Known) {
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    // Each round kills what the survivors of the previous one have forked.
    while Instant::now() < deadline {
        let all = ProcessInfo::all();
        let mut marked = ProcessInfo::with_variable(&all, known.marker.as_bytes());
        let is_remembered = |it: &&ProcessInfo| known.remembered.contains(&(it.pid, it.start_time));
        marked.extend(all.iter().filter(is_remembered));
        if marked.is_empty() {
            return;
        }
        for process in &marked {
            processes::signal(process.pid, process.start_time, Signal::KILL.as_raw());
        }
        // No event tells of the death of a process that is not our child.
        std::thread::sleep(POLL_INTERVAL);
    }
}
