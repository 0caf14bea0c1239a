//! macOS: the guard polls the list of processes. Type-checked only; never run on a Mac.
//!
//! macOS has no subreaper: an orphan becomes launchd's child. The guard finds descendants by the process that forked them, even after
//! that one's death, by the guard's session and the sidecar's process group, and by the process marker in their environment.

#[path = "kernel_events.rs"]
mod kernel_events;

use std::{env, ffi::c_int, fs};

pub(crate) use kernel_events::KernelEvents;
pub(super) use kernel_events::{
    descriptor as events_descriptor, take as take_events, watch_app, watch_leader,
};

use super::{
    Descendant, Pid,
    processes::{
        self, SystemTable,
        search::{ProcessInfo, Search},
    },
};

pub(crate) const SIGCONT: c_int = 19;
pub(super) const SIGCHLD: c_int = 20;
pub(super) const O_NONBLOCK: c_int = 4;
pub(super) type FdCount = std::ffi::c_uint;
pub(super) type BufferCount = c_int;
pub(super) type ControlLength = u32;

/// Whether an orphaned descendant becomes our child.
pub(crate) const IS_SUBREAPER: bool = false;

/// There is no light guard, whose descriptor this would be.
pub(super) fn watch_app_by(_pidfd: Option<c_int>) {}

/// macOS cannot wake a stopped guard when the app dies, and cannot kill the sidecar when the guard dies.
pub(super) fn become_guard() -> Option<String> {
    const F_GETFD: c_int = 1;
    const FD_CLOEXEC: c_int = 1;
    // Closes descriptors that the app leaked. One of the listed numbers is that of the directory itself, already closed.
    let listed = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<c_int> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: std keeps no descriptor open: we own only the three standard streams, and what was inherited. One that closes on exec
        // was opened by this process: by a library of the app, whose program may be the guard. Some are guarded, all of these close on
        // exec (`guarded_open_np` in XNU's `kern_guarded.c`), and the kernel kills a process that closes one.
        unsafe {
            if super::fcntl(fd, F_GETFD) & FD_CLOEXEC == 0 {
                super::close(fd);
            }
        }
    }
    None
}

/// Whether this child has not ended. One that has ended is not reaped.
pub(crate) fn lives(child: Pid) -> bool {
    processes::find(child.0).is_some()
}

/// Does nothing: no light guard is followed here.
pub(super) fn name_guard() {}

/// Does nothing: the supervisor does not look for the owner of a port here.
pub(crate) fn name_cleanup() {}

/// Runs in the sidecar's process, before execve(2).
pub(super) fn become_sidecar() {}

/// The sidecar's descendants.
pub(crate) struct Descendants {
    search: Search,
    table: SystemTable,
    remembered: Vec<(c_int, u64)>,
}

impl Descendants {
    pub(crate) fn new() -> Self {
        /// The instance of a run, which the sidecar finds in its environment (`docs/protocol.md`).
        const INSTANCE: &str = "PILLION_INSTANCE";
        let marker = env::var(INSTANCE).ok().map(|instance| format!("{INSTANCE}={instance}").into_bytes());
        // SAFETY: getpid(2) has no preconditions.
        let own = unsafe { super::getpid() };
        let process = processes::find(own);
        // This process leads a session of its own, unless the system has refused it one.
        let session = process.map(|process| process.session).filter(|session| *session == own);
        let mut search = Search::new(own, marker).of_session(session);
        // All children of this process belong to the sidecar, and so do theirs.
        if let Some(process) = process {
            search.remember_root(process.unique_id);
        }
        Self { search, table: SystemTable::new(), remembered: Vec::new() }
    }

    /// The same as [`list`](Self::list), which finds every descendant.
    pub(crate) fn list_deep(&mut self, group: Pid, number_is_held: bool) -> Vec<Descendant> {
        self.list(group, number_is_held)
    }

    /// The processes that the supervisor should know in case this guard is killed: all that live and were not returned before.
    pub(crate) fn take_new(&mut self) -> Vec<Descendant> {
        // What the last call to `list` found.
        let found = self.search.found();
        let new: Vec<_> =
            found.iter().filter(|it| !self.remembered.contains(&(it.pid, it.unique_id))).copied().collect();
        self.remembered.retain(|old| found.iter().any(|it| (it.pid, it.unique_id) == *old));
        self.remembered.extend(new.iter().map(|it| (it.pid, it.unique_id)));
        new.into_iter().map(descendant).collect()
    }

    /// Does nothing: which pipes a process holds is not looked up here.
    #[expect(clippy::unused_self, reason = "the same interface on every system")]
    pub(crate) fn remove_readers(&self, _processes: &mut Vec<Descendant>) {}

    /// Lists those that live. `group` is the sidecar's process group; `number_is_held` tells that the kernel cannot have
    /// reused its number.
    pub(crate) fn list(&mut self, group: Pid, number_is_held: bool) -> Vec<Descendant> {
        self.search.look(&mut self.table, Some(group.0), number_is_held);
        self.search.found().iter().copied().map(descendant).collect()
    }

    /// Looks again, and says whether no process is left, as far as one can know.
    pub(crate) fn none_left(&mut self, group: Pid) -> bool {
        self.search.look(&mut self.table, Some(group.0), false);
        self.search.is_over()
    }
}

/// The unique id of a process stands for its start time: both, with the process id, identify one process.
fn descendant(process: ProcessInfo) -> Descendant {
    Descendant { pid: Pid(process.pid), group: Pid(process.group), start_time: process.unique_id }
}

/// Sends a signal to a process, unless it is dead and the kernel reused its process id.
pub(crate) fn kill(process: &Descendant, signal: c_int) {
    processes::signal(process.pid.0, process.start_time, signal);
}
