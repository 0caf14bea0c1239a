//! Receives the descriptors of the supervisor's first message (`SCM_RIGHTS`, unix(7)).

use core::{ffi::c_int, ptr};

use super::{
    CONTROL,
    call::{self, call3},
    close, set_close_on_exec, word,
};

/// Where the sidecar expects the listener: the first descriptor after the standard streams (`SD_LISTEN_FDS_START`).
pub(super) const LISTENER: c_int = 3;

/// The most descriptors: a listener, a stdin, the file of the run, the journal, two pipes, and the full guard.
const MOST: usize = 7;

/// What the message has besides the two pipes and the full guard.
#[derive(Clone, Copy)]
pub(crate) struct Announced {
    pub(crate) listener: bool,
    pub(crate) stdin: bool,
    pub(crate) run_file: bool,
    pub(crate) journal: bool,
}

/// `struct msghdr` (recvmsg(2)).
#[repr(C)]
struct MessageHeader {
    name: *mut u8,
    name_length: u32,
    buffers: *mut Buffer,
    buffer_count: usize,
    control: *mut Rights,
    control_length: usize,
    flags: c_int,
}

/// `struct iovec` (readv(2)).
#[repr(C)]
struct Buffer {
    base: *mut u8,
    length: usize,
}

/// `struct cmsghdr` with descriptors behind it (cmsg(3)).
#[repr(C)]
struct Rights {
    length: usize,
    level: c_int,
    kind: c_int,
    fds: [c_int; MOST],
}

/// The received descriptors. All of them are closed on exec, except a listener at [`LISTENER`].
pub(crate) struct Received {
    pub(crate) listener: bool,
    /// The sidecar's stdin, if it was announced.
    pub(crate) stdin: Option<c_int>,
    pub(crate) run_file: Option<c_int>,
    pub(crate) journal: Option<c_int>,
    /// The read ends of the sidecar's output.
    pub(crate) outputs: [c_int; 2],
    /// The program of the full guard.
    pub(crate) full: c_int,
}

/// Waits for the message. `None` if a descriptor is missing: the supervisor is gone, or the system has none left.
///
/// No descriptor beyond the standard streams may be open that is still needed, so that the listener gets the lowest number.
pub(crate) fn receive(announced: Announced) -> Option<Received> {
    const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
    const SOL_SOCKET: c_int = 1;
    const SCM_RIGHTS: c_int = 1;
    let mut byte = 0_u8;
    let mut buffer = Buffer { base: &raw mut byte, length: 1 };
    let mut rights = Rights { length: 0, level: 0, kind: 0, fds: [-1; MOST] };
    let mut message = MessageHeader {
        name: ptr::null_mut(),
        name_length: 0,
        buffers: &raw mut buffer,
        buffer_count: 1,
        control: &raw mut rights,
        control_length: size_of::<Rights>(),
        flags: 0,
    };
    let address = (&raw mut message).addr();
    // SAFETY: the message points to a buffer of one byte and to a control buffer with its true size. Both outlive the call.
    if unsafe { call3(call::RECVMSG, word(CONTROL), address, MSG_CMSG_CLOEXEC) } != 1
        || (rights.level, rights.kind) != (SOL_SOCKET, SCM_RIGHTS)
    {
        return None;
    }
    let mut fds = rights.fds.into_iter().filter(|fd| *fd >= 0);
    let Announced { listener, stdin, run_file, journal } = announced;
    if listener {
        place_listener(fds.next()?);
    }
    Some(Received {
        listener,
        stdin: if stdin { Some(fds.next()?) } else { None },
        run_file: if run_file { Some(fds.next()?) } else { None },
        journal: if journal { Some(fds.next()?) } else { None },
        outputs: [fds.next()?, fds.next()?],
        full: fds.next()?,
    })
}

/// Moves the listener to the descriptor where the sidecar expects it.
fn place_listener(fd: c_int) {
    if fd == LISTENER {
        set_close_on_exec(fd, false);
    } else {
        // SAFETY: touches no memory. The listener is the first descriptor of the message, so that no other one has this number.
        unsafe { call3(call::DUP2, word(fd), word(LISTENER), 0) };
        close(fd);
    }
}
