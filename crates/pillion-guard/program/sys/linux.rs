//! Linux: the guard adopts orphans (child subreaper), wakes when the app dies, and kills the sidecar by its own death
//! (`PR_SET_PDEATHSIG`).

use std::{
    ffi::{c_int, c_long, c_ulong, c_void},
    fs, ptr,
};

use super::{Descendant, Pid, SIGKILL};

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn close_range(first: u32, last: u32, flags: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
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

    /// Lists our children that live or were not reaped yet.
    pub(crate) fn list(&mut self, _group: Pid, _number_is_held: bool) -> Vec<Descendant> {
        let stats = children().into_iter().filter_map(Stat::read);
        stats.filter(|stat| stat.parent == self.own).map(Descendant::from).collect()
    }

    /// Lists our children and their descendants: reads every process's status, which takes milliseconds.
    pub(crate) fn list_deep(&mut self, _group: Pid, _number_is_held: bool) -> Vec<Descendant> {
        let mut others: Vec<_> = all_processes().filter_map(Stat::read).collect();
        let mut found: Vec<Stat> = Vec::new();
        let mut parents = vec![self.own];
        while !parents.is_empty() {
            let children: Vec<_> = others.extract_if(.., |it| parents.contains(&it.parent)).collect();
            parents = children.iter().map(|child| child.pid).collect();
            found.extend(children);
        }
        found.into_iter().map(Descendant::from).collect()
    }
}

/// Parts of `/proc/PID/stat`.
struct Stat {
    pid: c_int,
    parent: c_int,
    group: c_int,
    start_time: u64,
}

impl Stat {
    fn read(pid: c_int) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // State, parent and group (proc_pid_stat(5)) follow a name that may hold any bytes.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start_time = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, parent, group, start_time })
    }
}

impl From<Stat> for Descendant {
    fn from(stat: Stat) -> Self {
        Self { pid: Pid(stat.pid), group: Pid(stat.group), start_time: stat.start_time }
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
        Err(_) => all_processes().collect(),
    }
}

fn all_processes() -> impl Iterator<Item = c_int> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Removes each process whose stdin is a pipe from the stdout or stderr of another one, unless no other process is left to
/// end first (a ring of pipes).
pub(crate) fn remove_readers(processes: &mut Vec<Descendant>) {
    let pipe = |process: &Descendant, fd| {
        let target = fs::read_link(format!("/proc/{}/fd/{fd}", process.pid.0)).ok()?;
        target.as_os_str().as_encoded_bytes().starts_with(b"pipe:").then_some(target)
    };
    let ends: Vec<_> = processes.iter().map(|it| (it.pid, pipe(it, 0), [pipe(it, 1), pipe(it, 2)])).collect();
    let is_reader = |reader: &Descendant| {
        let stdin = ends.iter().find(|(pid, ..)| *pid == reader.pid).and_then(|(_, stdin, _)| stdin.as_ref());
        stdin.is_some_and(|stdin| {
            ends.iter()
                .any(|(pid, _, outputs)| *pid != reader.pid && outputs.iter().flatten().any(|it| it == stdin))
        })
    };
    if !processes.iter().all(is_reader) {
        processes.retain(|process| !is_reader(process));
    }
}

/// Sends a signal to a descendant, unless it is dead and the kernel reused its process id.
pub(crate) fn kill(process: &Descendant, signal: c_int) {
    const SYS_PIDFD_SEND_SIGNAL: c_long = 424;
    const SYS_PIDFD_OPEN: c_long = 434;
    let pid = process.pid.0;
    // SAFETY: pidfd_open(2) touches no memory. Its number is the same on every architecture that Rust supports.
    let pidfd = unsafe { syscall(SYS_PIDFD_OPEN, pid, 0) };
    // The start time is read while the pidfd is open: both then belong to the same process.
    if Stat::read(pid).is_some_and(|now| now.start_time == process.start_time) {
        if let Ok(fd) = c_int::try_from(pidfd)
            && fd >= 0
        {
            // SAFETY: pidfd_send_signal(2) takes a null pointer for the signal's details.
            unsafe { syscall(SYS_PIDFD_SEND_SIGNAL, fd, signal, ptr::null::<c_void>(), 0) };
        } else {
            // No pidfds (before Linux 5.3), or no free descriptor.
            // SAFETY: touches no memory.
            unsafe { super::libc_kill(pid, signal) };
        }
    }
    if let Ok(fd) = c_int::try_from(pidfd)
        && fd >= 0
    {
        // SAFETY: the descriptor was opened above, and no other code knows it.
        unsafe { super::close(fd) };
    }
}
