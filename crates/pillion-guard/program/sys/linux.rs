//! What Linux has for a guard: it adopts whoever loses its parent, is woken when the app dies, and takes the sidecar along
//! when it dies itself.

use std::{
    ffi::{c_int, c_ulong},
    fs,
};

use super::{Pid, Process, SIGKILL};

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn close_range(first: u32, last: u32, flags: c_int) -> c_int;
}

pub(crate) const SIGCONT: c_int = 18;
pub(super) const SIGCHLD: c_int = 17;
pub(super) const O_NONBLOCK: c_int = 0o4000;
pub(super) type Count = c_ulong;
pub(super) type BufferCount = usize;
pub(super) type ControlLength = usize;
const PR_SET_PDEATHSIG: c_int = 1;

/// Whether who loses its parent becomes our child.
pub(crate) const ADOPTS: bool = true;

pub(super) fn become_guard() {
    const PR_SET_NAME: c_int = 15;
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    // SAFETY: none of these touches memory, but for the name, a constant that ends with a zero.
    unsafe {
        // Whoever stopped us, and then killed the app, has the kernel continue us. It does so at the end of each thread
        // that is our parent, the app's last one at the latest (PR_SET_PDEATHSIG(2const)); to one that runs it is nothing.
        prctl(PR_SET_PDEATHSIG, SIGCONT as c_ulong);
        prctl(PR_SET_NAME, c"pillion-guard".as_ptr());
        prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong);
        // Descriptors that the app did not mean to hand on.
        close_range(3, u32::MAX, 0);
    }
}

/// In the sidecar's process, before it becomes the program.
pub(super) fn become_sidecar() {
    // SAFETY: no memory is touched. prctl(2) is a bare system call, and so async-signal-safe.
    unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong) };
}

/// Who came of the sidecar: our children, adopted ones included.
pub(crate) struct Kin {
    own: c_int,
}

impl Kin {
    pub(crate) fn new() -> Self {
        Self { own: std::process::id().cast_signed() }
    }

    /// Those of them who live, or were not reaped yet.
    pub(crate) fn look(&mut self, _group: Pid, _held: bool) -> Vec<Process> {
        children()
            .into_iter()
            .filter_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                // State, parent and group (proc_pid_stat(5)) stand behind a name that may hold anything.
                let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
                let parent: c_int = fields.next()?.parse().ok()?;
                let group = Pid(fields.next()?.parse().ok()?);
                let born = fields.nth(16)?.parse().ok()?;
                (parent == self.own).then_some(Process { pid: Pid(pid), group, born })
            })
            .collect()
    }
}

/// The numbers of our children, or where the kernel does not list these (`CONFIG_PROC_CHILDREN`), of every process: a look
/// through all of them takes milliseconds, and as many guards as there are sidecars may look at once.
///
/// The list may lack some when others die while it is read, says `proc_tid_children(5)`. We are woken by those deaths, and look again.
fn children() -> Vec<c_int> {
    match fs::read_to_string("/proc/thread-self/children") {
        Ok(children) => children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        }
    }
}

/// Sends a signal to a process: a child's number is its own until it is reaped, and only this thread reaps.
pub(crate) fn kill(process: &Process, signal: c_int) {
    // SAFETY: no memory is touched.
    unsafe { super::libc_kill(process.pid.0, signal) };
}
