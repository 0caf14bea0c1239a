//! macOS: SIGCHLD and the kernel's list of a process group. Type-checked only; never run on a Mac.

#[expect(unsafe_code, reason = "libc offers no safe wrappers")]
mod peer;
#[expect(unsafe_code, reason = "libc offers no safe wrappers")]
pub(super) mod port_owners;
#[expect(unsafe_code, reason = "libc offers no safe wrappers")]
pub(super) mod tree_usage;

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use pillion_guard::processes::{
    self, SystemTable,
    search::{ProcessInfo, Search},
};
use rustix::process::{Pid, Signal};
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::Mutex,
};

use super::{Known, unix::GuardFile};
pub(super) use peer::{executes_this_program, peer};

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

/// The processes of a group, without its leader. Zombies do not count.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let pids = processes::pids().ok_or_else(|| io::Error::other("the system did not list the processes"))?;
    let number = group.as_raw_nonzero().get();
    let members = pids.into_iter().filter_map(processes::find).filter(|process| process.group == number);
    Ok(members.filter_map(|process| Pid::from_raw(process.pid)).filter(|pid| *pid != group).collect())
}

/// What identifies this child of that process besides its id: its unique id. `None` if there is no such child that lives.
pub(super) fn identity_of_child(pid: Pid, parent: Pid) -> Option<u64> {
    let process = processes::find(pid.as_raw_nonzero().get())?;
    (process.parent == parent.as_raw_nonzero().get()).then_some(process.unique_id)
}

/// Whether this process, identified as a guard reports it, lives.
pub(super) fn exists(pid: i32, unique_id: u64) -> bool {
    processes::find(pid).is_some_and(|process| process.unique_id == unique_id)
}

/// These processes: which pipes a process holds is not looked up here.
pub(super) fn without_readers(members: &[Pid]) -> Vec<Pid> {
    members.to_vec()
}

/// Sends a signal to a member of the group, unless it has died or left the group.
pub(super) fn signal_member(pid: Pid, group: Pid, signal: Signal) {
    if let Some(process) = processes::find(pid.as_raw_nonzero().get())
        && process.group == group.as_raw_nonzero().get()
    {
        kill(&process, signal);
    }
}

/// Waits for one poll interval.
pub(super) async fn members_changed(_group: Pid, _members: Vec<Pid>) {
    tokio::time::sleep(POLL_INTERVAL).await;
}

/// A path by which the guard can be executed for as long as this value exists.
#[derive(Debug)]
pub(super) struct GuardProgram(Arc<GuardFile>);

impl GuardProgram {
    /// macOS cannot execute a program from memory. Where a program may not execute files that it wrote, as in the App Sandbox, executing
    /// the path fails later.
    fn in_cache(bytes: &[u8]) -> io::Result<Self> {
        let base =
            user_cache_directory().ok_or_else(|| io::Error::other("the user has no cache directory"))?;
        GuardFile::of_this_process(&base, bytes).map(Self)
    }

    fn in_temporary_directory(bytes: &[u8]) -> io::Result<Self> {
        GuardFile::of_this_process(&env::temp_dir(), bytes).map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Stores the guard's program in a place.
type Store = fn(&[u8]) -> io::Result<GuardProgram>;

/// The places to store the guard's program in, the best first. The system deletes old files of the second one.
pub(super) const PLACES: [Store; 2] = [GuardProgram::in_cache, GuardProgram::in_temporary_directory];

/// What a guard cannot do here.
pub(super) fn guard_limitation() -> Option<String> {
    None
}

/// Kills every process that has the marker in its environment, belongs to the session or is remembered, and their descendants, until none is left as far as one
/// can know, or [`SWEEP_TIMEOUT`] is over. Blocks.
pub(super) fn sweep(known: &Known) {
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let session = known.session.map(|session| session.as_raw_nonzero().get());
    let mut search = Search::new(own, Some(known.marker.clone().into_bytes())).of_session(session);
    for (_, unique_id) in &known.remembered {
        search.remember(*unique_id);
    }
    let mut table = SystemTable::new();
    // Each round kills what the survivors of the previous one have forked.
    while Instant::now() < deadline {
        search.look(&mut table, None, false);
        if search.is_over() {
            return;
        }
        search.found().iter().for_each(|process| kill(process, Signal::KILL));
        // No event tells of the death of a process that is not our child.
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn kill(process: &ProcessInfo, signal: Signal) {
    processes::signal(process.pid, process.unique_id, signal.as_raw());
}

#[cfg(test)]
mod tests;
