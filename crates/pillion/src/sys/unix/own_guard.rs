//! This program as the guard of another process of it.

use std::{
    env,
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    process,
};

use super::super::own_program;

/// Guards a sidecar of the app that has started this process, with this value. Ends the process.
pub(crate) fn run_guard(value: &str) -> ! {
    let stdin = io::stdin();
    // Read without a buffer, which would take what follows. A terminal would be waited for.
    let socket = (!stdin.is_terminal()).then(|| stdin.as_fd().try_clone_to_owned());
    if !socket.is_some_and(|socket| socket.is_ok_and(|it| own_program::receives(value, &mut File::from(it))))
    {
        own_program::refuse();
    }
    // The program and the argument with the value come first.
    pillion_guard::program::run(env::args_os().skip(2));
    process::exit(0)
}
