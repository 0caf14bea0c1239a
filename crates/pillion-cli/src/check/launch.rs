//! Starts the program under check with chosen descriptors and variables, below a supervisor.
//!
//! The supervisor owns one process, the *holder*: `pillion check-hold SOCKET PROGRAM ARGUMENT…`. It starts the program as its
//! child, so that the guard watches both, and reports the exit while the processes that the program left are still there. The
//! child is first `pillion check-exec PROGRAM ARGUMENT…`: it takes the descriptors, and becomes the program. No library call
//! between fork and exec can do that in safe code.
//!
//! All three talk over one Unix domain socket. The check sends one byte with the descriptors (`SCM_RIGHTS`, `unix(7)`), then
//! [`Orders`] as a line of JSON. It receives these lines:
//!
//! | line | meaning |
//! | --- | --- |
//! | `pid N` | the process id of the program |
//! | `failed TEXT` | the program could not be started |
//! | `exited CODE`, `signalled NUMBER` | the program has ended. Its number stays its own until the check closes the socket |

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    io::{self, BufRead as _, BufReader, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, IntoRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Command, ExitCode, Stdio, id},
};

use pillion::protocol::environment;
use rustix::{
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Pid, WaitId, WaitIdOptions, setsid, waitid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin},
};
use serde::{Deserialize, Serialize};

/// The variables of the protocol, which a program gets from [`Orders`] alone.
pub(super) const PROTOCOL_VARIABLES: [&str; 10] = [
    environment::PORT,
    environment::PROTOCOL,
    environment::INSTANCE,
    environment::TOKEN,
    environment::ALLOWED_ORIGINS,
    environment::PIPE,
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
];

/// The first descriptor of a listener (`sd_listen_fds(3)`).
const LISTENER: i32 = 3;
/// Above all descriptors that the program gets.
const SPARE: i32 = 10;

/// What the program gets beside its descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Variables. `{pid}` and `{ppid}` stand for the process ids of the program and of its parent.
    pub(super) variables: BTreeMap<String, String>,
}

/// The first argument of the holder, and that of its child. They are not among the commands of `pillion`, whose command line takes longer
/// to parse than the program needs to start.
pub(super) const HOLD: &str = "check-hold";
const EXEC: &str = "check-exec";

/// Holds or becomes the program, if the arguments of this process say so.
pub(crate) fn run_if_asked(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let first = arguments.next()?;
    if first == EXEC {
        return Some(exec(&arguments.collect::<Vec<_>>()));
    }
    if first != HOLD {
        return None;
    }
    // The check reads from the socket; without it no process is there to read an error.
    let held = hold(Path::new(&arguments.next()?), arguments);
    Some(held.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

#[expect(clippy::disallowed_methods, reason = "the guard of this process owns the child too")]
fn hold(socket: &Path, command_line: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut check = UnixStream::connect(socket)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(EXEC).args(command_line);
    command.stdin(OwnedFd::from(check.try_clone()?)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let wait = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let line = match waitid(WaitId::Pid(Pid::from_child(&child)), wait)? {
        Some(status) if status.exited() => format!("exited {}\n", status.exit_status().unwrap_or(0)),
        Some(status) => format!("signalled {}\n", status.terminating_signal().unwrap_or(0)),
        None => return Ok(()),
    };
    check.write_all(line.as_bytes())?;
    // The child is not reaped before: a signal of the check must not reach another process of the same number.
    check.read_to_end(&mut Vec::new())?;
    child.wait()?;
    Ok(())
}

fn exec(command_line: &[OsString]) -> ExitCode {
    let mut check = match fcntl_dupfd_cloexec(stdin(), SPARE) {
        Ok(check) => UnixStream::from(check),
        Err(_) => return ExitCode::FAILURE,
    };
    let Err(error) = become_program(command_line, &check);
    let _ = writeln!(check, "failed {error}");
    ExitCode::FAILURE
}

/// Returns only if that fails.
fn become_program(command_line: &[OsString], mut check: &UnixStream) -> io::Result<std::convert::Infallible> {
    writeln!(check, "pid {}", id())?;
    let mut descriptors = receive(check)?;
    let third = (descriptors.len() > 3).then(|| descriptors.pop()).flatten();
    let mut line = String::new();
    BufReader::new(check).read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line)?;
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(descriptors)
        .map_err(|descriptors| io::Error::other(format!("{} descriptors came", descriptors.len())))?;
    dup2_stdin(&stdin)?;
    dup2_stdout(&stdout)?;
    dup2_stderr(&stderr)?;
    if let Some(third) = third {
        // The lowest free number: nothing else is open below `SPARE`.
        let third = fcntl_dupfd_cloexec(&third, LISTENER)?;
        if third.as_raw_fd() != LISTENER {
            return Err(io::Error::other("descriptor 3 is in use"));
        }
        fcntl_setfd(&third, FdFlags::empty())?;
        let _ = third.into_raw_fd();
    }
    setsid()?;
    let (program, arguments) = command_line.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments);
    for name in PROTOCOL_VARIABLES {
        command.env_remove(name);
    }
    let (pid, parent) = (id().to_string(), std::os::unix::process::parent_id().to_string());
    for (name, value) in orders.variables {
        command.env(name, value.replace("{pid}", &pid).replace("{ppid}", &parent));
    }
    Err(command.exec())
}

/// Receives the descriptors, and moves them out of the way of descriptor 3.
fn receive(check: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(check, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::empty())?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            for descriptor in received {
                descriptors.push(fcntl_dupfd_cloexec(&descriptor, SPARE)?);
            }
        }
    }
    Ok(descriptors)
}
