//! Windows: the lifeline moves to a private handle, and the process gets an empty stdin.
//!
//! A thread that waits in `ReadFile` for a pipe locks the pipe's file object. A child that inherits this stdin and only asks for its type
//! hangs then (<https://github.com/python/cpython/issues/78961>).
#![expect(unsafe_code, reason = "std cannot replace the stdin of this process")]

use std::{
    fs::File,
    io,
    os::windows::io::{AsHandle as _, AsRawHandle as _, IntoRawHandle as _},
};

use winapi_util::{HandleRef, file};
use windows_sys::Win32::{
    Foundation::{HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation},
    System::Console::{STD_INPUT_HANDLE, SetStdHandle},
};

/// Takes the lifeline from stdin, if stdin is a pipe or a socket: `GetFileType` does not distinguish them. From then on this process and
/// its children have `NUL` as their stdin.
pub(super) fn take() -> io::Result<Option<File>> {
    if !file::typ(HandleRef::stdin()).is_ok_and(|kind| kind.is_pipe()) {
        return Ok(None);
    }
    let stdin = io::stdin();
    // Children do not inherit the duplicate (`DuplicateHandle`).
    let lifeline = File::from(stdin.as_handle().try_clone_to_owned()?);
    replace_stdin(stdin.as_raw_handle())?;
    Ok(Some(lifeline))
}

/// Gives this process an empty stdin, which children inherit instead of `stdin`.
fn replace_stdin(stdin: HANDLE) -> io::Result<()> {
    let null = File::open("NUL")?.into_raw_handle();
    // SAFETY: `stdin` and `null` are open, and stay so: neither is closed, because other code of this process may have read the number
    // of stdin before. The other arguments are integers.
    unsafe {
        done(SetHandleInformation(null, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT))?;
        done(SetStdHandle(STD_INPUT_HANDLE, null))?;
        done(SetHandleInformation(stdin, HANDLE_FLAG_INHERIT, 0))
    }
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Rarely called: pipes that the standard library reads block on Windows.
pub(super) fn wait_until_readable() {
    std::thread::yield_now();
}
