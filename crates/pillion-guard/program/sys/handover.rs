//! The listener that the supervisor hands over to the sidecar, as systemd does it (`sd_listen_fds(3)`).

use std::{
    ffi::{c_char, c_int, c_void},
    io::Write as _,
    mem::size_of,
    ptr,
};

use super::{
    environment,
    platform::{BufferCount, ControlLength},
};

/// Where the sidecar finds it: the first descriptor behind the standard ones (`SD_LISTEN_FDS_START`).
const PLACE: c_int = 3;
const SOL_SOCKET: c_int = if cfg!(target_os = "linux") { 1 } else { 0xffff };
const SCM_RIGHTS: c_int = 1;

unsafe extern "C" {
    fn recvmsg(socket: c_int, message: *mut Message, flags: c_int) -> isize;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
}

/// `struct iovec` (readv(2)).
#[repr(C)]
struct Buffer {
    base: *mut c_void,
    length: usize,
}

/// `struct msghdr` (recvmsg(2)).
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_length: u32,
    buffers: *mut Buffer,
    buffer_count: BufferCount,
    control: *mut c_void,
    control_length: ControlLength,
    flags: c_int,
}

/// `struct cmsghdr` with one descriptor behind it (cmsg(3)).
#[repr(C)]
struct Rights {
    length: ControlLength,
    level: c_int,
    kind: c_int,
    fd: c_int,
}

/// Receives the listener from the supervisor, and puts it where the sidecar looks for it; whether there was one. Nothing
/// else that is to stay may be open beyond the standard streams yet.
pub(super) fn receive() -> bool {
    let mut byte = 0_u8;
    let mut buffer = Buffer { base: (&raw mut byte).cast(), length: 1 };
    let mut rights = Rights { length: 0, level: 0, kind: 0, fd: -1 };
    let mut message = Message {
        name: ptr::null_mut(),
        name_length: 0,
        buffers: &raw mut buffer,
        buffer_count: 1,
        control: (&raw mut rights).cast(),
        control_length: size_of::<Rights>() as ControlLength,
        flags: 0,
    };
    // SAFETY: the message names a buffer of one byte and a control buffer of its own size, both of which outlive the call.
    let received = unsafe { recvmsg(0, &raw mut message, 0) };
    if received != 1 || rights.level != SOL_SOCKET || rights.kind != SCM_RIGHTS || rights.fd < PLACE {
        return false;
    }
    if rights.fd != PLACE {
        // SAFETY: no memory is touched, and nothing of ours is open at that place.
        unsafe {
            dup2(rights.fd, PLACE);
            close(rights.fd);
        }
    }
    true
}

/// Closes our own copy: a port that nobody serves any more is to refuse connections, not to keep them waiting.
pub(super) fn let_go() {
    // SAFETY: `receive` put the listener there, and nothing else knows of it.
    unsafe { close(PLACE) };
}

/// Puts the process's own number behind `LISTEN_PID=` in its environment, by which a program knows that the listener is
/// meant for it and not for its parent. The host has left room for it.
///
/// # Safety
/// As for [`environment::values`]. Async-signal-safe.
pub(super) unsafe fn name_this_process(environ: *const *const c_char, pid: c_int) {
    // SAFETY: the caller's.
    for mut value in unsafe { environment::values(environ, b"LISTEN_PID=") } {
        // With the zero that ends it: sd_listen_fds(3) would read digits behind a leading zero as octal.
        let _ = write!(value, "{pid}\0");
    }
}
