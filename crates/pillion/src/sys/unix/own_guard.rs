//! This program as the guard of another process of it.

use std::{
    env,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    process,
};

use rustix::{
    net::{AddressFamily, SocketType, getsockname, sockopt::socket_type},
    process::getppid,
};

use super::super::{own_program, platform};

/// Guards a sidecar of the app that has started this process, with this value. Ends the process.
pub(crate) fn run_guard(value: &str) -> ! {
    let stdin = io::stdin();
    // Read without a buffer, which would take what follows.
    let from_app = is_from_this_program(stdin.as_fd())
        && stdin
            .as_fd()
            .try_clone_to_owned()
            .is_ok_and(|socket| own_program::receives(value, &mut File::from(socket)));
    if !from_app {
        own_program::refuse();
    }
    // The program and the argument with the value come first.
    pillion_guard::program::run(env::args_os().skip(2), true);
    process::exit(0)
}

/// Whether this process was started by one that executes the same program, and `stdin` is a socket of that one. The guard executes what
/// its arguments say: otherwise any program could let this program, and the permissions that the system gave it, start another one.
fn is_from_this_program(stdin: BorrowedFd<'_>) -> bool {
    let is_unix = getsockname(stdin).is_ok_and(|address| address.address_family() == AddressFamily::UNIX);
    let is_stream = is_unix && socket_type(stdin).is_ok_and(|kind| kind == SocketType::STREAM);
    let Some(parent) = getppid().filter(|_| is_stream) else { return false };
    platform::peer(stdin) == Some(parent.as_raw_nonzero().get())
        && platform::executes_this_program(parent)
        // Otherwise it has died, and its number may have been that of another process.
        && getppid() == Some(parent)
}
