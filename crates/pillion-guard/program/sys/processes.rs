//! The processes of this user, as macOS lists them. Both the guard and the supervisor use this file.
//!
//! macOS has no pidfds. A process id is paired with the start time of its process; [`signal`] compares the start time again
//! just before it sends a signal.

use std::{
    ffi::{c_int, c_uint, c_void},
    mem::size_of,
    ptr,
};

#[path = "procargs.rs"]
mod procargs;

/// `struct proc_bsdinfo` of `<sys/proc_info.h>`.
#[repr(C)]
#[derive(Default)]
struct BsdInfo {
    flags: u32,
    status: u32,
    exit_status: u32,
    pid: u32,
    parent: u32,
    user: u32,
    user_group: u32,
    real_user: u32,
    real_user_group: u32,
    saved_user: u32,
    saved_user_group: u32,
    reserved: u32,
    command: [u8; 16],
    name: [u8; 32],
    files: u32,
    group: u32,
    job_control: u32,
    terminal: u32,
    terminal_group: u32,
    nice: i32,
    start_seconds: u64,
    start_microseconds: u64,
}

unsafe extern "C" {
    fn proc_listallpids(pids: *mut c_void, size: c_int) -> c_int;
    fn proc_pidinfo(pid: c_int, flavor: c_int, argument: u64, info: *mut c_void, size: c_int) -> c_int;
    fn sysctl(
        name: *mut c_int,
        name_length: c_uint,
        old: *mut c_void,
        old_size: *mut usize,
        new: *mut c_void,
        new_size: usize,
    ) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
}

/// A process that was alive when it was listed.
#[derive(Debug, Clone, Copy)]
pub struct ProcessInfo {
    /// Its process id.
    pub pid: i32,
    /// The process id of its parent; 1 after the parent's death.
    pub parent: i32,
    /// The number of its process group.
    pub group: i32,
    /// When it was forked, in microseconds since the Unix epoch.
    pub start_time: u64,
}

impl ProcessInfo {
    /// The process that has this id now. `None` if it is dead (reaped or not) or belongs to another user.
    #[must_use]
    pub fn find(pid: i32) -> Option<Self> {
        const PROC_PIDTBSDINFO: c_int = 3;
        const SIZE: c_int = size_of::<BsdInfo>().cast_signed() as c_int;
        let mut info = BsdInfo::default();
        // SAFETY: the kernel writes at most `SIZE` bytes to `info`, which has that size and accepts any bytes.
        let written = unsafe { proc_pidinfo(pid, PROC_PIDTBSDINFO, 0, (&raw mut info).cast(), SIZE) };
        (written == SIZE).then(|| Self {
            pid,
            parent: info.parent.cast_signed(),
            group: info.group.cast_signed(),
            start_time: info.start_seconds * 1_000_000 + info.start_microseconds,
        })
    }

    /// Every process of this user.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut pids = vec![0; 1024];
        loop {
            let size = c_int::try_from(size_of_val(&pids[..])).unwrap_or(c_int::MAX);
            // SAFETY: the kernel writes at most `size` bytes of process ids to `pids`, which is that large and aligned.
            let count = unsafe { proc_listallpids(pids.as_mut_ptr().cast(), size) };
            let count = usize::try_from(count).unwrap_or_default();
            if count < pids.len() {
                return pids[..count].iter().copied().filter_map(Self::find).collect();
            }
            // The list was full: more processes may exist.
            pids.resize(2 * pids.len(), 0);
        }
    }

    /// Those of `processes` that were started with `entry`, a `NAME=value`, in their environment. System Integrity Protection
    /// hides the environment of programs that belong to macOS itself.
    #[must_use]
    pub fn with_variable(processes: &[Self], entry: &[u8]) -> Vec<Self> {
        /// The limit of execve(2) (`kern.argmax`). Of a longer area the kernel would return only the end.
        const ARGUMENTS_MAX: usize = 1024 * 1024;
        let mut area = vec![0; ARGUMENTS_MAX];
        let mut has_variable = |process: &&Self| {
            let size = read_arguments(process.pid, &mut area);
            procargs::has_variable(&area[..size], entry)
        };
        processes.iter().filter(|process| has_variable(process)).copied().collect()
    }
}

/// Sends a signal to the process with this id and start time. Does nothing if that process is dead, even if the kernel has
/// reused its id.
pub fn signal(pid: i32, start_time: u64, signal: i32) {
    if ProcessInfo::find(pid).is_some_and(|now| now.start_time == start_time) {
        // SAFETY: touches no memory.
        unsafe { kill(pid, signal) };
    }
}

/// Reads the area that `procargs` parses. Returns its size, or 0 if the system refuses.
fn read_arguments(pid: c_int, area: &mut [u8]) -> usize {
    const CTL_KERN: c_int = 1;
    const KERN_PROCARGS2: c_int = 49;
    let mut name = [CTL_KERN, KERN_PROCARGS2, pid];
    let mut size = area.len();
    // SAFETY: the name has three numbers, as passed. The kernel writes at most `size` bytes to `area`, and their count to
    // `size`.
    let result =
        unsafe { sysctl(name.as_mut_ptr(), 3, area.as_mut_ptr().cast(), &raw mut size, ptr::null_mut(), 0) };
    if result == 0 { size.min(area.len()) } else { 0 }
}
