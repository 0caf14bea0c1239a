//! Receives descriptors from the supervisor: the read ends of the sidecar's output, the sidecar's stdin if that is not a lifeline,
//! the file of the run, the journal, and the listener that the supervisor hands over to the sidecar by systemd's convention (`sd_listen_fds(3)`).

use std::{
    ffi::{c_int, c_void},
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd},
    process, ptr,
};

use super::platform::{BufferCount, ControlLength};

/// Where the sidecar expects the listener: the first descriptor after the standard streams (`SD_LISTEN_FDS_START`).
const LISTENER_FD: c_int = 3;
const SOL_SOCKET: c_int = if cfg!(target_os = "linux") { 1 } else { 0xffff };
const SCM_RIGHTS: c_int = 1;
const F_SETFD: c_int = 2;
const FD_CLOEXEC: c_int = 1;

unsafe extern "C" {
    fn recvmsg(socket: c_int, message: *mut MessageHeader, flags: c_int) -> isize;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
}

/// `struct iovec` (readv(2)).
#[repr(C)]
struct Buffer {
    base: *mut c_void,
    length: usize,
}

/// `struct msghdr` (recvmsg(2)).
#[repr(C)]
struct MessageHeader {
    name: *mut c_void,
    name_length: u32,
    buffers: *mut Buffer,
    buffer_count: BufferCount,
    control: *mut c_void,
    control_length: ControlLength,
    flags: c_int,
}

/// The maximum number of descriptors in the message: a listener, a stdin, the file of the run, the journal and two pipes.
const MAX_FDS: usize = 6;

/// What the message has besides the two pipes.
#[derive(Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) listener: bool,
    pub(crate) stdin: bool,
    pub(crate) run_file: bool,
    pub(crate) journal: bool,
    /// Whether to exit if it does not come.
    pub(crate) strict: bool,
}

/// `struct cmsghdr` with descriptors behind it (cmsg(3)). `length` counts the header and the descriptors that arrived.
#[repr(C)]
struct Rights {
    length: ControlLength,
    level: c_int,
    kind: c_int,
    fds: [c_int; MAX_FDS],
}

/// The received descriptors.
pub(super) struct Received {
    /// Whether the listener is at the descriptor where the sidecar expects it.
    pub(super) listener: bool,
    /// The sidecar's stdin, if it was announced.
    pub(super) stdin: Option<OwnedFd>,
    /// The file of the run, if it was announced.
    pub(super) run_file: Option<OwnedFd>,
    /// The journal, if it was announced.
    pub(super) journal: Option<OwnedFd>,
    /// The read ends of the sidecar's output.
    pub(super) outputs: Vec<OwnedFd>,
}

/// Waits for the one message with descriptors: the listener, the stdin, the file of the run and the journal, if they are announced, and
/// then the read ends. The caller must not have opened any descriptor beyond the standard streams that it still needs, so that the listener
/// gets the lowest number.
pub(super) fn receive(announced: Announced) -> Received {
    let mut byte = 0_u8;
    let mut buffer = Buffer { base: (&raw mut byte).cast(), length: 1 };
    let mut rights = Rights { length: 0, level: 0, kind: 0, fds: [-1; MAX_FDS] };
    let mut message = MessageHeader {
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
    if received != 1 || rights.level != SOL_SOCKET || rights.kind != SCM_RIGHTS {
        if announced.strict {
            process::exit(2);
        }
        return Received { listener: false, stdin: None, run_file: None, journal: None, outputs: Vec::new() };
    }
    // SAFETY: the kernel has just opened these for us, and no other code knows them.
    let fds = rights.fds.into_iter().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    let mut fds: Vec<_> = fds.collect();
    let listener = announced.listener && !fds.is_empty() && place_listener(fds.remove(0));
    for fd in &fds {
        // SAFETY: touches no memory.
        unsafe { fcntl(fd.as_raw_fd(), F_SETFD, FD_CLOEXEC) };
    }
    let mut next = |announced: bool| (announced && !fds.is_empty()).then(|| fds.remove(0));
    let (stdin, run_file) = (next(announced.stdin), next(announced.run_file));
    let journal = next(announced.journal);
    Received { listener, stdin, run_file, journal, outputs: fds }
}

/// Moves the listener to the descriptor where the sidecar expects it.
fn place_listener(listener: OwnedFd) -> bool {
    let fd = listener.into_raw_fd();
    if fd != LISTENER_FD {
        // SAFETY: touches no memory. Nothing else was opened before the message arrived, so that the number is free.
        unsafe {
            dup2(fd, LISTENER_FD);
            close(fd);
        }
    }
    true
}

/// Closes the guard's own copy. A port that no process serves must refuse connections instead of queueing them.
pub(super) fn close_listener() {
    // SAFETY: `receive` put the listener there, and no other code uses it.
    unsafe { close(LISTENER_FD) };
}
