//! Which process has the other end of a socket, and what it executes.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use rustix::process::{Pid, getpid};

/// The process that last used the other end of a Unix stream socket (`LOCAL_PEERPID`, `sys/un.h`). `None` if there is none.
pub(in super::super) fn peer(socket: BorrowedFd<'_>) -> Option<i32> {
    let mut peer: libc::pid_t = 0;
    let mut length = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the system writes at most `length` bytes to `peer`, for which every value is valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERPID,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of_val(&peer) && peer > 0).then_some(peer)
}

/// Whether that process executes the file that this process executes.
pub(in super::super) fn executes_this_program(pid: Pid) -> bool {
    program(getpid()).is_ok_and(|own| program(pid).is_ok_and(|other| other == own))
}

/// The path of the file that a process executes (`proc_pidpath`, `libproc.h`), which the system makes from the file itself.
pub(super) fn program(pid: Pid) -> io::Result<Vec<u8>> {
    let mut path = vec![0; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    // SAFETY: the system writes at most `path.len()` bytes to `path`.
    let length = unsafe {
        libc::proc_pidpath(pid.as_raw_nonzero().get(), path.as_mut_ptr().cast(), path.len() as u32)
    };
    match usize::try_from(length) {
        Ok(length) if (1..=path.len()).contains(&length) => {
            path.truncate(length);
            Ok(path)
        }
        _ => Err(io::Error::last_os_error()),
    }
}
