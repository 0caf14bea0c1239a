//! The processes of this user, as macOS lists them. Both the guard and the supervisor use this file. Type-checked only; never run on a Mac.
//!
//! macOS has no pidfds. A process id is paired with the unique id of its process; [`signal`] compares it again just before it sends a
//! signal.

use std::{
    ffi::{c_int, c_uint, c_void},
    io,
    mem::size_of,
    ptr,
};

#[path = "pid_list.rs"]
mod pid_list;
#[path = "procargs.rs"]
mod procargs;
#[path = "search.rs"]
pub mod search;

use search::{Environment, ProcessInfo, ProcessTable};

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

/// `struct proc_uniqidentifierinfo` of XNU's `bsd/sys/proc_info_private.h`.
#[repr(C)]
#[derive(Default)]
struct UniqueIdentifierInfo {
    executable: [u8; 16],
    unique_id: u64,
    parent_unique_id: u64,
    version: i32,
    /// 0 before macOS 15.4.
    original_parent_version: i32,
    reserved: [u64; 2],
}

/// `struct proc_bsdinfowithuniqid`, there.
#[repr(C)]
#[derive(Default)]
struct BsdInfoWithUniqueId {
    bsd: BsdInfo,
    unique: UniqueIdentifierInfo,
}

// The kernel refuses a structure of another size.
const _: () = assert!(size_of::<BsdInfo>() == 136 && size_of::<UniqueIdentifierInfo>() == 56);

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
    fn getsid(pid: c_int) -> c_int;
}

/// The process that has this id now. `None` if it is dead (reaped or not) or belongs to another user.
#[must_use]
pub fn find(pid: i32) -> Option<ProcessInfo> {
    const PROC_PIDT_BSDINFOWITHUNIQID: c_int = 18;
    const SIZE: c_int = size_of::<BsdInfoWithUniqueId>().cast_signed() as c_int;
    let mut info = BsdInfoWithUniqueId::default();
    // SAFETY: the kernel writes at most `SIZE` bytes to `info`, which has that size and accepts any bytes. The argument 0 leaves out
    // zombies.
    let written = unsafe { proc_pidinfo(pid, PROC_PIDT_BSDINFOWITHUNIQID, 0, (&raw mut info).cast(), SIZE) };
    (written == SIZE).then(|| ProcessInfo {
        pid,
        parent: info.bsd.parent.cast_signed(),
        group: info.bsd.group.cast_signed(),
        // SAFETY: touches no memory. A process that has ended meanwhile has no session, or that of another process; its unique id then
        // belongs to no process any more.
        session: unsafe { getsid(pid) }.max(0),
        unique_id: info.unique.unique_id,
        parent_unique_id: info.unique.parent_unique_id,
        version: info.unique.version,
        original_parent_version: info.unique.original_parent_version,
    })
}

/// The ids of all processes. `None` if the system did not tell: libproc returns 0 for an error.
#[must_use]
pub fn pids() -> Option<Vec<i32>> {
    pid_list::complete(|pids| {
        let size = c_int::try_from(size_of_val(pids)).unwrap_or(c_int::MAX);
        // SAFETY: the kernel writes at most `size` bytes of process ids to `pids`, which is that large and aligned.
        unsafe { proc_listallpids(pids.as_mut_ptr().cast(), size) }
    })
}

/// This system's table.
#[derive(Debug)]
pub struct SystemTable {
    /// Space for the arguments and the environment of a process.
    area: Vec<u8>,
}

impl SystemTable {
    /// A table, with space for the largest environment that the system permits.
    #[must_use]
    pub fn new() -> Self {
        Self { area: vec![0; arguments_max()] }
    }
}

impl Default for SystemTable {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessTable for SystemTable {
    fn pids(&mut self) -> Option<Vec<i32>> {
        pids()
    }

    fn find(&mut self, pid: i32) -> Option<ProcessInfo> {
        find(pid)
    }

    fn environment(&mut self, pid: i32, entry: &[u8]) -> Environment {
        let answer = read_arguments(pid, &mut self.area);
        procargs::environment(answer.map(|size| &self.area[..size]), entry)
    }
}

/// Sends a signal to the process with this id and unique id. Does nothing if that process is dead, even if the kernel has
/// reused its id.
pub fn signal(pid: i32, unique_id: u64, signal: i32) {
    if find(pid).is_some_and(|now| now.unique_id == unique_id) {
        // SAFETY: touches no memory.
        unsafe { kill(pid, signal) };
    }
}

const CTL_KERN: c_int = 1;

/// The limit of execve(2), `kern.argmax`: of a smaller area the kernel would fill only the end, and a larger one it refused up to 10.15.
fn arguments_max() -> usize {
    const KERN_ARGMAX: c_int = 8;
    /// The smallest limit of a supported system, that of 10.15.
    const FALLBACK: usize = 256 * 1024;
    let mut name = [CTL_KERN, KERN_ARGMAX];
    let mut value: c_int = 0;
    let mut size = size_of::<c_int>();
    // SAFETY: the name has two numbers, as passed. The kernel writes an integer of `size` bytes to `value`.
    let result =
        unsafe { sysctl(name.as_mut_ptr(), 2, (&raw mut value).cast(), &raw mut size, ptr::null_mut(), 0) };
    usize::try_from(value).ok().filter(|value| result == 0 && *value > 0).unwrap_or(FALLBACK)
}

/// Reads the area that `procargs` parses. Returns its size.
fn read_arguments(pid: c_int, area: &mut [u8]) -> io::Result<usize> {
    const KERN_PROCARGS2: c_int = 49;
    let mut name = [CTL_KERN, KERN_PROCARGS2, pid];
    let mut size = area.len();
    // SAFETY: the name has three numbers, as passed. The kernel writes at most `size` bytes to `area`, and their count to
    // `size`.
    let result =
        unsafe { sysctl(name.as_mut_ptr(), 3, area.as_mut_ptr().cast(), &raw mut size, ptr::null_mut(), 0) };
    if result == 0 { Ok(size.min(area.len())) } else { Err(io::Error::last_os_error()) }
}
