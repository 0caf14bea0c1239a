//! Linux: the guard adopts orphans (child subreaper), wakes when the app dies, and kills the sidecar by its own death
//! (`PR_SET_PDEATHSIG`).

use std::{
    ffi::{c_int, c_ulong},
    fs,
};

use super::{Descendant, Pid, SIGKILL};

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn close_range(first: u32, last: u32, flags: c_int) -> c_int;
}

pub(crate) const SIGCONT: c_int = 18;
pub(super) const SIGCHLD: c_int = 17;
pub(super) const O_NONBLOCK: c_int = 0o4000;
pub(super) type FdCount = c_ulong;
pub(super) type BufferCount = usize;
pub(super) type ControlLength = usize;
const PR_SET_PDEATHSIG: c_int = 1;

/// Whether an orphaned descendant becomes our child.
pub(crate) const IS_SUBREAPER: bool = true;

pub(super) fn become_guard() {
    const PR_SET_NAME: c_int = 15;
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    // SAFETY: these calls touch no memory except the name, a constant that ends with a zero.
    unsafe {
        // If the guard was stopped (SIGSTOP), the app's death must continue it. The kernel sends the signal when our parent
        // thread ends, at the latest with the app's last thread (PR_SET_PDEATHSIG(2const)). A running guard ignores it.
        prctl(PR_SET_PDEATHSIG, SIGCONT as c_ulong);
        prctl(PR_SET_NAME, c"pillion-guard".as_ptr());
        prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong);
        // Closes descriptors that the app leaked.
        close_range(3, u32::MAX, 0);
    }
}

/// Runs in the sidecar's process, before execve(2).
pub(super) fn become_sidecar() {
    // SAFETY: touches no memory. prctl(2) is a bare system call, and therefore async-signal-safe.
    unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong) };
}

/// The sidecar's descendants: our children, adopted ones included.
pub(crate) struct Descendants {
    own: c_int,
}

impl Descendants {
    pub(crate) fn new() -> Self {
        Self { own: std::process::id().cast_signed() }
    }

    /// Lists those that live or were not reaped yet.
    pub(crate) fn list(&mut self, _group: Pid, _number_is_held: bool) -> Vec<Descendant> {
        children()
            .into_iter()
            .filter_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                // State, parent and group (proc_pid_stat(5)) follow a name that may hold any bytes.
                let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
                let parent: c_int = fields.next()?.parse().ok()?;
                let group = Pid(fields.next()?.parse().ok()?);
                let start_time = fields.nth(16)?.parse().ok()?;
                (parent == self.own).then_some(Descendant { pid: Pid(pid), group, start_time })
            })
            .collect()
    }
}

/// The process ids of our children. Where the kernel does not list children (`CONFIG_PROC_CHILDREN`), the ids of all
/// processes: reading all of them takes milliseconds, and many guards may do so at the same time.
///
/// `proc_tid_children(5)`: the list may miss children if others die while it is read. Those deaths wake the guard, which
/// then lists again.
fn children() -> Vec<c_int> {
    match fs::read_to_string("/proc/thread-self/children") {
        Ok(children) => children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        }
    }
}

/// Sends a signal to a child. The kernel does not reuse its process id before it is reaped, and only this thread reaps.
pub(crate) fn kill(process: &Descendant, signal: c_int) {
    // SAFETY: touches no memory.
    unsafe { super::libc_kill(process.pid.0, signal) };
}
