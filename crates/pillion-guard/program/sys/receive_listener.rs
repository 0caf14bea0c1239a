//! Receives the listener that the supervisor hands over to the sidecar by systemd's convention (`sd_listen_fds(3)`).

use std::{
    ffi::{c_char, c_int, c_void},
    io::Write as _,
    mem::size_of,
    ptr,
};

use super::{
    child_environment,
    platform::{BufferCount, ControlLength},
};

/// Where the sidecar expects the listener: the first descriptor after the standard streams (`SD_LISTEN_FDS_START`).
const LISTENER_FD: c_int = 3;
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

/// Receives the listener from the supervisor and moves it to the descriptor that the sidecar expects. Returns whether a
/// listener arrived. The caller must not have opened any descriptor beyond the standard streams that it still needs.
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
    // SAFETY: the message points to a one-byte buffer and to a control buffer with its true size. Both outlive the call.
    let received = unsafe { recvmsg(0, &raw mut message, 0) };
    if received != 1 || rights.level != SOL_SOCKET || rights.kind != SCM_RIGHTS || rights.fd < LISTENER_FD {
        return false;
    }
    if rights.fd != LISTENER_FD {
        // SAFETY: touches no memory, and no other code uses that descriptor number.
        unsafe {
            dup2(rights.fd, LISTENER_FD);
            close(rights.fd);
        }
    }
    true
}

/// Closes the guard's own copy. A port that no process serves must refuse connections instead of queueing them.
pub(super) fn close_listener() {
    // SAFETY: `receive` put the listener there, and no other code uses it.
    unsafe { close(LISTENER_FD) };
}

/// Writes the process id to `LISTEN_PID` in the environment. The variable tells a program that the listener is meant for
/// this process and not for its parent. The supervisor reserved space for the number.
///
/// # Safety
/// As for [`child_environment::values`]. Async-signal-safe.
pub(super) unsafe fn set_listen_pid(environ: *const *const c_char, pid: c_int) {
    // SAFETY: the caller upholds the same conditions.
    for mut value in unsafe { child_environment::values(environ, b"LISTEN_PID=") } {
        // Ends the number with a zero byte instead of padding it: sd_listen_fds(3) reads a leading `0` as octal.
        let _ = write!(value, "{pid}\0");
    }
}
