//! Whether the sidecar has processes besides its first one.

use core::{ffi::c_int, mem::MaybeUninit};

use super::{
    call::{self, call3},
    close, word,
};
use crate::text::{Text, number};

/// Enough for `/proc/PID/task/TID/children`.
type Path = Text<64>;

/// Whether `/proc` shows our own PID namespace, as the full guard asks.
pub(crate) fn proc_is_ours() -> bool {
    let mut link = [0_u8; 20];
    let path = c"/proc/self".as_ptr().addr();
    // SAFETY: the kernel reads the path, and writes at most as many bytes as the array holds.
    let length = unsafe { call3(call::READLINK, path, link.as_mut_ptr().addr(), link.len()) };
    // SAFETY: touches no memory.
    let own = unsafe { call3(call::GETPID, 0, 0, 0) };
    let mut expected = Text::<20>::new();
    expected.number(own.unsigned_abs() as u64);
    let length = usize::try_from(length).unwrap_or(0);
    link.get(..length).is_some_and(|link| link == expected.bytes())
}

/// Whether the sidecar has a process besides its leader that may have to be reported: we have another child, or the leader has one.
///
/// Finds nothing where the kernel does not list children (`CONFIG_PROC_CHILDREN`), and neither does the full guard.
pub(crate) fn has_other_processes(leader: c_int) -> bool {
    // The file lists one number for each child, so a second number means a second child.
    let mut expected = Text::<24>::new();
    expected.number(leader.unsigned_abs().into()).text(b" ");
    let mut own = [0_u8; 64];
    let own = read(c"/proc/thread-self/children".as_ptr().cast(), &mut own);
    if own.is_some_and(|own| !own.is_empty() && own != expected.bytes()) {
        return true;
    }
    let mut found = false;
    let mut threads = Path::new();
    threads.text(b"/proc/").number(leader.unsigned_abs().into()).text(b"/task");
    if let Some(threads) = threads.terminated() {
        for_each_number(threads, |thread, _| found |= has_children(leader, thread));
    }
    found
}

/// Whether this thread of the process has started a process that lives.
fn has_children(process: c_int, thread: c_int) -> bool {
    let mut path = Path::new();
    path.text(b"/proc/").number(process.unsigned_abs().into());
    path.text(b"/task/").number(thread.unsigned_abs().into()).text(b"/children");
    let mut byte = [0];
    path.terminated().is_some_and(|path| read(path, &mut byte).is_some_and(|byte| !byte.is_empty()))
}

/// Calls `visit` with each child of this process that is not reaped. A long list is cut: those that are left are in the next one.
pub(super) fn for_each_child(mut visit: impl FnMut(c_int)) {
    let mut children = [0_u8; 1024];
    let children = read(c"/proc/thread-self/children".as_ptr().cast(), &mut children).unwrap_or_default();
    for child in children.split_inclusive(|byte| *byte == b' ') {
        // A space follows each number. One without it may be cut.
        if let Some(child) = child.strip_suffix(b" ").and_then(number) {
            visit(child);
        }
    }
}

const O_RDONLY_CLOEXEC: usize = 0o2_000_000;
const O_DIRECTORY: usize = 0o200_000;

/// Reads the start of a file.
fn read(path: *const u8, into: &mut [u8]) -> Option<&[u8]> {
    // SAFETY: each caller's path ends with a zero.
    let fd = c_int::try_from(unsafe { call3(call::OPEN, path.addr(), O_RDONLY_CLOEXEC, 0) }).ok()?;
    if fd < 0 {
        return None;
    }
    // SAFETY: the kernel writes at most as many bytes as `into` holds.
    let count = unsafe { call3(call::READ, word(fd), into.as_mut_ptr().addr(), into.len()) };
    close(fd);
    into.get(..usize::try_from(count).ok()?)
}

/// Calls `visit` with each name in the folder that is a number, and with the folder's descriptor. Returns false for a folder that cannot
/// be opened.
pub(super) fn for_each_number(path: *const u8, mut visit: impl FnMut(c_int, c_int)) -> bool {
    /// Where the length and the name are in `struct linux_dirent64` (getdents(2)).
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    const SIZE: usize = 1024;
    // SAFETY: each caller's path ends with a zero.
    let fd = unsafe { call3(call::OPEN, path.addr(), O_RDONLY_CLOEXEC | O_DIRECTORY, 0) };
    let Some(fd) = c_int::try_from(fd).ok().filter(|fd| *fd >= 0) else { return false };
    let mut entries = [MaybeUninit::<u64>::uninit(); SIZE / 8];
    loop {
        // SAFETY: the kernel writes whole entries, at most `SIZE` bytes.
        let count = unsafe { call3(call::GETDENTS64, word(fd), entries.as_mut_ptr().addr(), SIZE) };
        let Ok(count @ 1..) = usize::try_from(count) else { break };
        // SAFETY: the kernel has written as many bytes.
        let mut rest = unsafe { core::slice::from_raw_parts(entries.as_ptr().cast::<u8>(), count) };
        while let Some(&[low, high]) = rest.get(LENGTH..LENGTH + 2) {
            let name = rest.get(NAME..).unwrap_or_default();
            if let Some(number) = number(name) {
                visit(number, fd);
            }
            rest = rest.get(usize::from(u16::from_le_bytes([low, high])).max(1)..).unwrap_or_default();
        }
    }
    close(fd);
    true
}
