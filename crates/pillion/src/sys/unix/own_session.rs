//! Runs a short command that is not a sidecar, and reads what it prints. Also the user's login shell.

use std::{
    ffi::{CStr, OsStr},
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::PathBuf,
    process::{ChildStdout, Command, Stdio},
    ptr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
};

use super::{in_new_session, peek, pid, reap, spawn};
use crate::{status::Exit, sys::Printed};

/// How often the end of a command is looked for while it prints nothing: another process may hold its output open.
const EXIT_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the command in a session of its own, without a terminal and with an empty stdin. Reads its stdout until `complete` is true,
/// the command has ended, `timeout` is over, or it has printed `limit` bytes. If the output is complete, the command goes on, and
/// so do processes that it left; otherwise its process group is killed. Blocks.
pub(crate) fn print_in_own_session(
    command: &mut Command,
    timeout: Duration,
    limit: usize,
    complete: impl Fn(&[u8]) -> bool,
) -> io::Result<Printed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    in_new_session(command);
    let mut child = spawn(command)?;
    let leader = pid(&child);
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("its stdout was not piped"));
    let printed = stdout.and_then(|stdout| read(leader, stdout, timeout, limit, complete));
    if !matches!(printed, Ok(Printed::Complete(_))) {
        // The leader is not reaped, so the number of its group is still its own.
        let _ = kill_process_group(leader, Signal::KILL);
    }
    reap(leader, false);
    printed
}

fn read(
    leader: Pid,
    mut stdout: ChildStdout,
    timeout: Duration,
    limit: usize,
    complete: impl Fn(&[u8]) -> bool,
) -> io::Result<Printed> {
    let started = Instant::now();
    let (mut output, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    let mut exit: Option<Exit> = None;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let wait = if exit.is_some() { Duration::ZERO } else { left.min(EXIT_INTERVAL) };
        if is_readable(&stdout, wait)? {
            match stdout.read(&mut chunk)? {
                0 => match exit {
                    Some(exit) => return Ok(Printed::Exited(exit)),
                    None => std::thread::sleep(wait),
                },
                count => output.extend_from_slice(&chunk[..count]),
            }
            if complete(&output) {
                return Ok(Printed::Complete(output));
            }
            if output.len() > limit {
                return Ok(Printed::TooMuch);
            }
        } else if let Some(exit) = exit {
            return Ok(Printed::Exited(exit));
        }
        if left.is_zero() {
            return Ok(Printed::TimedOut);
        }
        // What it wrote before its end is read in the next round.
        exit = exit.or_else(|| peek(leader));
    }
}

fn is_readable(stdout: &ChildStdout, wait: Duration) -> io::Result<bool> {
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos().try_into().unwrap_or(0) };
    let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&wait)) {
        Err(rustix::io::Errno::INTR) => Ok(false),
        polled => Ok(polled? > 0),
    }
}

/// The shell that the user database has for the user of this process (passwd(5), `getpwuid_r(3)`).
#[expect(unsafe_code, reason = "neither std nor rustix reads the user database")]
pub(crate) fn login_shell() -> Option<PathBuf> {
    let mut strings = vec![0; 16 * 1024];
    // SAFETY: `passwd` consists of integers and pointers, for which zero is a valid value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = ptr::null_mut();
    let user = rustix::process::getuid().as_raw();
    // SAFETY: the pointers are valid during the call, and the length is that of the buffer.
    let error = unsafe {
        libc::getpwuid_r(user, &raw mut entry, strings.as_mut_ptr(), strings.len(), &raw mut found)
    };
    if error != 0 || found.is_null() || entry.pw_shell.is_null() {
        return None;
    }
    // SAFETY: the call has succeeded, so that this points to a string in `strings`, which still exists.
    let shell = unsafe { CStr::from_ptr(entry.pw_shell) };
    Some(PathBuf::from(OsStr::from_bytes(shell.to_bytes()))).filter(|shell| shell.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_database_has_an_absolute_path() {
        // The user of a container may have no entry.
        if let Some(shell) = login_shell() {
            assert!(shell.is_absolute(), "{shell:?}");
        }
    }
}
