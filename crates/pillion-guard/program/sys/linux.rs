//! Linux: the guard adopts orphans (child subreaper), wakes when the app dies, and kills the sidecar by its own death
//! (`PR_SET_PDEATHSIG`).

use std::{
    ffi::{CStr, c_int, c_long, c_uint, c_ulong, c_void},
    fs, ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use super::{
    super::{limits, names},
    Descendant, Pid, SIGKILL,
    proc_stat::ProcStat,
};

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn getpgid(pid: c_int) -> c_int;
    fn clone(
        function: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        argument: *mut c_void,
        ...
    ) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn waitid(kind: c_int, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
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

/// Not asked of a subreaper, which has more children than the leader.
pub(crate) fn lives(_child: Pid) -> bool {
    true
}

/// The end of the app. Forks are of no interest.
#[derive(Default)]
pub(crate) struct KernelEvents {
    pub(crate) app_died: bool,
    pub(crate) leader_forked: bool,
}

/// A pidfd of the app, which is readable once that has ended, or -1.
static APP: AtomicI32 = AtomicI32::new(-1);

pub(super) fn events_descriptor() -> c_int {
    APP.load(Ordering::Relaxed)
}

/// Tells the end of the app, once.
pub(super) fn take_events() -> KernelEvents {
    let app = APP.swap(-1, Ordering::Relaxed);
    // SAFETY: only this module knows the descriptor, and not any more.
    unsafe { super::close(app) };
    KernelEvents { app_died: true, leader_forked: false }
}

/// Begins to watch the app: a process that it has forked, and that executes nothing, keeps its end of the socket open. Before Linux 5.3, or
/// where a sandbox refuses the call, and for an app that has died already, the end of the socket alone tells.
pub(super) fn watch_app(app: c_int) {
    /// The same number on each architecture. The descriptor closes when a program is executed.
    const PIDFD_OPEN: c_long = 434;
    // SAFETY: touches no memory.
    let fd = unsafe { syscall(PIDFD_OPEN, app, 0 as c_uint) };
    watch_app_by(c_int::try_from(fd).ok());
}

/// Goes on watching the app by the descriptor of the light guard.
pub(super) fn watch_app_by(pidfd: Option<c_int>) {
    APP.store(pidfd.unwrap_or(-1), Ordering::Relaxed);
}

pub(super) fn watch_leader(_leader: c_int) {}

pub(super) fn become_guard() -> Option<String> {
    const PR_SET_CHILD_SUBREAPER: c_int = 36;
    name_guard();
    // SAFETY: these calls touch no memory.
    let (wakes, adopts) = unsafe {
        // If the guard was stopped (SIGSTOP), the app's death must continue it. The kernel sends the signal when our parent
        // thread ends, at the latest with the app's last thread (PR_SET_PDEATHSIG(2const)). A running guard ignores it.
        let wakes = prctl(PR_SET_PDEATHSIG, SIGCONT as c_ulong) == 0;
        (wakes, prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong) == 0)
    };
    close_inherited();
    let limit = if adopts { (!wakes).then_some(limits::NO_DEATH_SIGNAL) } else { Some(limits::NO_SUBREAPER) };
    limit.map(str::to_owned)
}

/// Gives this process the name by which people find it: that of its file is a number.
pub(super) fn name_guard() {
    name(names::GUARD);
}

/// Gives this process the name by which people and the next start of the app find it.
pub(crate) fn name_cleanup() {
    name(names::CLEANUP);
}

fn name(name: &CStr) {
    const PR_SET_NAME: c_int = 15;
    // SAFETY: reads the name, which ends with a zero.
    unsafe { prctl(PR_SET_NAME, name.as_ptr()) };
}

/// Closes descriptors that the app leaked.
fn close_inherited() {
    // The same number on each architecture. musl 1.2.3 and glibc before 2.34 have no function for it.
    const CLOSE_RANGE: c_long = 436;
    // SAFETY: touches no memory. Nothing that we use is open beyond the standard streams.
    if unsafe { syscall(CLOSE_RANGE, 3 as c_uint, c_uint::MAX, 0 as c_uint) } == 0 {
        return;
    }
    // Before Linux 5.9, or where a sandbox refuses the call.
    let listed = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let mut open: Vec<c_int> = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    if open.is_empty() {
        open = (0..4096).collect();
    }
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: as above. One of the listed numbers is that of the directory itself, already closed.
        unsafe { super::close(fd) };
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
    /// Whether `/proc` shows our own PID namespace. In a sandbox it may be missing, or be that of an outer namespace, where our
    /// process ids mean other processes (`pid_namespaces(7)`).
    proc_is_ours: bool,
    /// What [`take_new`](Self::take_new) returned.
    remembered: Vec<(c_int, u64)>,
}

impl Descendants {
    pub(crate) fn new() -> Self {
        let own = std::process::id();
        let link = fs::read_link("/proc/self");
        let proc_is_ours = link.is_ok_and(|link| link.as_os_str() == own.to_string().as_str());
        Self { own: own.cast_signed(), proc_is_ours, remembered: Vec::new() }
    }

    /// Lists our children that live or were not reaped yet.
    pub(crate) fn list(&mut self, leader: Pid, leader_is_child: bool) -> Vec<Descendant> {
        if !self.proc_is_ours {
            return children_without_proc(leader, leader_is_child);
        }
        let stats =
            children("thread-self").unwrap_or_else(all_processes).into_iter().filter_map(ProcStat::read);
        stats.filter(|stat| stat.parent == self.own).map(Descendant::from).collect()
    }

    /// Lists our children and their descendants.
    ///
    /// Looks twice: the list of a parent may miss children if others die while it is read (`proc_tid_children(5)`).
    pub(crate) fn list_deep(&mut self, leader: Pid, leader_is_child: bool) -> Vec<Descendant> {
        if !self.proc_is_ours {
            return self.list(leader, leader_is_child);
        }
        let mut found = self.descend().unwrap_or_else(|| self.descend_through_all());
        for again in self.descend().unwrap_or_default() {
            if !found.iter().any(|it| (it.pid, it.start_time) == (again.pid, again.start_time)) {
                found.push(again);
            }
        }
        found.into_iter().map(Descendant::from).collect()
    }

    /// Our descendants, by the children of each: quick, however many processes the system has. `None` where the kernel does not
    /// list children (`CONFIG_PROC_CHILDREN`).
    fn descend(&self) -> Option<Vec<ProcStat>> {
        let mut found = Vec::new();
        let mut parents = vec![self.own];
        while let Some(parent) = parents.pop() {
            let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
            for thread in threads.filter_map(|entry| entry.file_name().into_string().ok()) {
                match children(&format!("{parent}/task/{thread}")) {
                    Some(children) => {
                        parents.extend(&children);
                        found.extend(children.into_iter().filter_map(ProcStat::read));
                    }
                    // Any other thread may have ended.
                    None if parent == self.own => return None,
                    None => {}
                }
            }
        }
        Some(found)
    }

    /// Our descendants, by the parent of each process of the system, which takes milliseconds.
    fn descend_through_all(&self) -> Vec<ProcStat> {
        let mut others: Vec<_> = all_processes().into_iter().filter_map(ProcStat::read).collect();
        let mut found: Vec<ProcStat> = Vec::new();
        let mut parents = vec![self.own];
        while !parents.is_empty() {
            let children: Vec<_> = others.extract_if(.., |it| parents.contains(&it.parent)).collect();
            parents = children.iter().map(|child| child.pid).collect();
            found.extend(children);
        }
        found
    }

    /// Not called: the kernel's list of children says when none is left.
    #[expect(clippy::unused_self, reason = "the same interface on every system")]
    pub(crate) fn none_left(&self, _leader: Pid) -> bool {
        true
    }

    /// The processes that the supervisor should know in case this guard is killed: descendants that have left our session, and
    /// that were not returned before. The supervisor finds the others by the number of the session.
    ///
    /// Finds nothing where the kernel does not list children (`CONFIG_PROC_CHILDREN`).
    pub(crate) fn take_new(&mut self) -> Vec<Descendant> {
        let mut found = if self.proc_is_ours { self.descend().unwrap_or_default() } else { Vec::new() };
        found.retain(|stat| stat.session != self.own);
        self.remembered.retain(|old| found.iter().any(|it| (it.pid, it.start_time) == *old));
        found.retain(|it| !self.remembered.contains(&(it.pid, it.start_time)));
        self.remembered.extend(found.iter().map(|it| (it.pid, it.start_time)));
        found.into_iter().map(Descendant::from).collect()
    }

    /// Removes each process whose stdin is a pipe from the stdout or stderr of another one, unless no other process would be
    /// left (a ring of pipes).
    pub(crate) fn remove_readers(&self, processes: &mut Vec<Descendant>) {
        if !self.proc_is_ours {
            return;
        }
        let pipe = |process: &Descendant, fd| {
            let target = fs::read_link(format!("/proc/{}/fd/{fd}", process.pid.0)).ok()?;
            target.as_os_str().as_encoded_bytes().starts_with(b"pipe:").then_some(target)
        };
        let ends: Vec<_> =
            processes.iter().map(|it| (it.pid, pipe(it, 0), [pipe(it, 1), pipe(it, 2)])).collect();
        let is_reader = |reader: &Descendant| {
            let stdin =
                ends.iter().find(|(pid, ..)| *pid == reader.pid).and_then(|(_, stdin, _)| stdin.as_ref());
            stdin.is_some_and(|stdin| {
                let mut others = ends.iter().filter(|(pid, ..)| *pid != reader.pid);
                others.any(|(_, _, outputs)| outputs.iter().flatten().any(|output| output == stdin))
            })
        };
        if !processes.iter().all(is_reader) {
            processes.retain(|process| !is_reader(process));
        }
    }
}

/// Our children, found without `/proc`: asks for each process id whether it is a child of ours (waitid(2)).
fn children_without_proc(leader: Pid, leader_is_child: bool) -> Vec<Descendant> {
    // Ids start again from the beginning at the limit, which may be lower. Each id that is asked for takes time.
    const LIMIT: c_int = 4 * 1024 * 1024;
    let last = last_pid().filter(|last| *last >= leader.0).unwrap_or(LIMIT);
    // Descendants are younger than the leader, unless the ids started again.
    let first = if last == LIMIT || !leader_is_child { 1 } else { leader.0 };
    let children = (first..=last).filter(|pid| is_child(*pid));
    children
        .map(|pid| {
            // SAFETY: getpgid(2) touches no memory.
            let group = unsafe { getpgid(pid) };
            Descendant { pid: Pid(pid), group: Pid(group), start_time: 0 }
        })
        .collect()
}

/// The last process id that our PID namespace gave out: that of a child which ends at once. Without `/proc`, nothing else tells. Its
/// end sends no signal, which would wake the guard for another look.
fn last_pid() -> Option<c_int> {
    /// Also waits for a child whose end sends no signal (`waitpid(2)`).
    const WALL: c_int = 0x4000_0000;
    extern "C" fn end(_: *mut c_void) -> c_int {
        0
    }
    let mut stack = vec![0u128; 1024];
    // SAFETY: without CLONE_VM, the child runs in a copy of our memory, on a stack that grows down from this end, and exits when
    // the function returns (clone(2)). We have one thread, so that no lock is held in the copy.
    let pid = unsafe { clone(end, stack.as_mut_ptr_range().end.cast(), 0, ptr::null_mut()) };
    if pid <= 0 {
        return None;
    }
    // SAFETY: the kernel accepts a null pointer for the status.
    unsafe { waitpid(pid, ptr::null_mut(), WALL) };
    Some(pid)
}

fn is_child(pid: c_int) -> bool {
    const P_PID: c_int = 1;
    const WNOHANG: c_int = 1;
    const WEXITED: c_int = 4;
    const WNOWAIT: c_int = 0x0100_0000;
    /// `siginfo_t`: 128 bytes, aligned as a pointer.
    #[repr(C, align(8))]
    struct SigInfo([u8; 128]);
    let mut info = SigInfo([0; 128]);
    // SAFETY: the kernel writes at most 128 bytes to `info`. WNOWAIT leaves the child to be reaped.
    unsafe { waitid(P_PID, pid.cast_unsigned(), (&raw mut info).cast(), WEXITED | WNOHANG | WNOWAIT) == 0 }
}

impl From<ProcStat> for Descendant {
    fn from(stat: ProcStat) -> Self {
        Self { pid: Pid(stat.pid), group: Pid(stat.group), start_time: stat.start_time }
    }
}

/// The process ids of the children of a thread, `PID/task/TID`. `None` where the kernel does not list children
/// (`CONFIG_PROC_CHILDREN`): then every process has to be read, which takes milliseconds.
///
/// `proc_tid_children(5)`: the list may miss children if others die while it is read. Those deaths wake the guard, which
/// then lists again.
fn children(thread: &str) -> Option<Vec<c_int>> {
    let children = fs::read_to_string(format!("/proc/{thread}/children")).ok()?;
    Some(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn all_processes() -> Vec<c_int> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Sends a signal to a descendant, unless it is dead and the kernel reused its process id.
pub(crate) fn kill(process: &Descendant, signal: c_int) {
    const SYS_PIDFD_SEND_SIGNAL: c_long = 424;
    const SYS_PIDFD_OPEN: c_long = 434;
    let pid = process.pid.0;
    if process.start_time == 0 {
        // A child of ours, which only this thread reaps.
        // SAFETY: touches no memory.
        unsafe { super::libc_kill(pid, signal) };
        return;
    }
    // SAFETY: pidfd_open(2) touches no memory. Its number is the same on every architecture that Rust supports.
    let pidfd = unsafe { syscall(SYS_PIDFD_OPEN, pid, 0) };
    // The start time is read while the pidfd is open: both then belong to the same process.
    if ProcStat::read(pid).is_some_and(|now| now.start_time == process.start_time) {
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
