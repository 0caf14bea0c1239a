//! macOS: the guard polls the list of processes. Type-checked only; never run on a Mac.
//!
//! macOS has no subreaper: an orphan becomes launchd's child. The guard finds descendants by their parents, by the sidecar's
//! process group and by the process marker in their environment. It remembers each process that it has seen.

use std::{env, ffi::c_int, fs};

use super::{
    Descendant, Pid,
    processes::{self, ProcessInfo},
};

unsafe extern "C" {
    fn getpid() -> c_int;
}

pub(crate) const SIGCONT: c_int = 19;
pub(super) const SIGCHLD: c_int = 20;
pub(super) const O_NONBLOCK: c_int = 4;
pub(super) type FdCount = std::ffi::c_uint;
pub(super) type BufferCount = c_int;
pub(super) type ControlLength = u32;

/// Whether an orphaned descendant becomes our child.
pub(crate) const IS_SUBREAPER: bool = false;

/// macOS cannot wake a stopped guard when the app dies, and cannot kill the sidecar when the guard dies.
pub(super) fn become_guard() -> Option<String> {
    // Closes descriptors that the app leaked. One of the listed numbers is that of the directory itself, already closed.
    let listed = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let open: Vec<c_int> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: std keeps no descriptor open: we own only the three standard streams.
        unsafe { super::close(fd) };
    }
    None
}

/// Runs in the sidecar's process, before execve(2).
pub(super) fn become_sidecar() {}

/// The sidecar's descendants.
pub(crate) struct Descendants {
    own: c_int,
    marker: Option<Vec<u8>>,
    known: Vec<ProcessInfo>,
    remembered: Vec<(c_int, u64)>,
}

impl Descendants {
    pub(crate) fn new() -> Self {
        /// The instance of a run, which the sidecar finds in its environment (`docs/protocol.md`).
        const INSTANCE: &str = "PILLION_INSTANCE";
        let marker = env::var(INSTANCE).ok().map(|instance| format!("{INSTANCE}={instance}").into_bytes());
        // SAFETY: getpid(2) has no preconditions.
        Self { own: unsafe { getpid() }, marker, known: Vec::new(), remembered: Vec::new() }
    }

    /// The same as [`list`](Self::list), which finds every descendant.
    pub(crate) fn list_deep(&mut self, group: Pid, number_is_held: bool) -> Vec<Descendant> {
        self.list(group, number_is_held)
    }

    /// The processes that the supervisor should know in case this guard is killed: all that live and were not returned before.
    pub(crate) fn take_new(&mut self) -> Vec<Descendant> {
        // `known` is what the last call to `list` found.
        let new: Vec<_> = self
            .known
            .iter()
            .filter(|it| !self.remembered.contains(&(it.pid, it.start_time)))
            .copied()
            .collect();
        self.remembered.retain(|old| self.known.iter().any(|it| (it.pid, it.start_time) == *old));
        self.remembered.extend(new.iter().map(|it| (it.pid, it.start_time)));
        let descendant = |it: ProcessInfo| Descendant {
            pid: Pid(it.pid),
            group: Pid(it.group),
            start_time: it.start_time,
        };
        new.into_iter().map(descendant).collect()
    }

    /// Does nothing: which pipes a process holds is not looked up here.
    #[expect(clippy::unused_self, reason = "the same interface on every system")]
    pub(crate) fn remove_readers(&self, _processes: &mut Vec<Descendant>) {}

    /// Lists those that live. `group` is the sidecar's process group; `number_is_held` tells that the kernel cannot have
    /// reused its number.
    pub(crate) fn list(&mut self, group: Pid, number_is_held: bool) -> Vec<Descendant> {
        let mut others = ProcessInfo::all();
        others.retain(|process| process.pid != self.own);
        let is = |one: &ProcessInfo, other: &ProcessInfo| {
            one.pid == other.pid && one.start_time == other.start_time
        };
        let is_known = |process: &ProcessInfo| self.known.iter().any(|known| is(known, process));
        // A known member of the group holds its number.
        let number_is_held =
            number_is_held || others.iter().any(|process| process.group == group.0 && is_known(process));
        let marked = self
            .marker
            .as_ref()
            .map(|marker| ProcessInfo::with_variable(&others, marker))
            .unwrap_or_default();
        let (mut found, mut others): (Vec<_>, Vec<_>) = others.into_iter().partition(|process| {
            is_known(process)
                || (number_is_held && process.group == group.0)
                || marked.iter().any(|marked| is(marked, process))
        });
        loop {
            let parents: Vec<_> = found.iter().map(|process| process.pid).chain([self.own]).collect();
            let children: Vec<_> = others.extract_if(.., |it| parents.contains(&it.parent)).collect();
            if children.is_empty() {
                break;
            }
            found.extend(children);
        }
        self.known.clone_from(&found);
        let descendant = |it: ProcessInfo| Descendant {
            pid: Pid(it.pid),
            group: Pid(it.group),
            start_time: it.start_time,
        };
        found.into_iter().map(descendant).collect()
    }
}

/// Sends a signal to a process, unless it is dead and the kernel reused its process id.
pub(crate) fn kill(process: &Descendant, signal: c_int) {
    processes::signal(process.pid.0, process.start_time, signal);
}
