//! Starts a guard's program, with the sidecar's program as its arguments.

use std::{
    ffi::{CStr, OsStr, OsString},
    io::{self, Write as _},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
            process::CommandExt,
        },
    },
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::Pid;

use super::{
    super::{
        super::{
            SpawnRequest, own_program,
            platform::{self, GuardProgram},
        },
        pid, signal, spawn, without_spawns,
    },
    control::send_fds,
};
use crate::spec::{StopRequest, StopScope};

/// How often, and at which interval, a busy file is executed again.
const BUSY_RETRIES: u32 = 100;
const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// Space for commands that a stopped guard does not read.
const SEND_BUFFER: usize = 256 * 1024;

/// A guard's process, which may not have executed its program yet.
#[derive(Debug)]
pub(super) struct Executed {
    /// A child that is not reaped.
    pub(super) guard: Pid,
    /// Our end of the control socket.
    pub(super) control: UnixStream,
    /// The read ends of the sidecar's output.
    pub(super) outputs: [OwnedFd; 2],
    /// Keep it until the guard has sent its first line, which shows that the system has executed the program.
    pub(super) _program: Option<GuardProgram>,
}

/// A program that can be the guard.
#[derive(Debug)]
pub(super) enum Way {
    /// The light guard.
    Light(AtomicBool),
    /// The full guard, which is inside this program.
    Full,
    /// This program itself, if it becomes a guard when it is started as one.
    Own(AtomicBool),
}

/// The best first. macOS examines each new file before its first run, forbids it to some apps, and knows this program. Elsewhere this
/// program comes last: it may be large, and take long to load.
static WAYS: [Way; 3] = if cfg!(target_os = "macos") {
    [Way::Own(AtomicBool::new(false)), Way::Light(AtomicBool::new(false)), Way::Full]
} else {
    [Way::Light(AtomicBool::new(false)), Way::Full, Way::Own(AtomicBool::new(false))]
};

impl Way {
    /// The ways that have not failed: what the system refused one guard, it would refuse the next one.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        WAYS.iter().filter(|way| match way {
            Self::Light(failed) | Self::Own(failed) => !failed.load(Ordering::Relaxed),
            Self::Full => true,
        })
    }

    /// Notes that a guard has ended before it could start the program.
    pub(super) fn failed(&self) {
        match self {
            Self::Light(failed) | Self::Own(failed) => failed.store(true, Ordering::Relaxed),
            Self::Full => {}
        }
    }

    /// Starts the guard. `None` if there is none of this kind; an error says why it does not run.
    pub(super) fn execute(&self, request: &SpawnRequest) -> Option<Result<Executed, String>> {
        match self {
            Self::Light(_) => execute_light(request).ok().map(Ok),
            Self::Full => Some(execute_full(request)),
            Self::Own(_) => own_program::file().map(|program| execute_own(program?, request)),
        }
    }
}

/// Starts this program as a guard.
fn execute_own(program: &Path, request: &SpawnRequest) -> Result<Executed, String> {
    let execute = || {
        let value = own_program::fresh_value()?;
        let Streams { control, outputs, of_guard } = Streams::open(request, None, Some(&value))?;
        let guard = spawn_with(command(program, Some(&value), request), of_guard)?;
        Ok(Executed { guard, control, outputs, _program: None })
    };
    execute().map_err(|error: io::Error| format!("this program cannot be executed as a guard: {error}"))
}

/// Starts the light guard; or says why the full one has to start.
fn execute_light(request: &SpawnRequest) -> io::Result<Executed> {
    let (program, full) = platform::light_guard()?;
    let Streams { control, outputs, of_guard } = Streams::open(request, Some(full), None)?;
    let guard = spawn_light(command(program.path(), None, request), of_guard)?;
    Ok(Executed { guard, control, outputs, _program: Some(program) })
}

/// Starts the full guard from the first place from where the system executes it; or says why from none.
fn execute_full(request: &SpawnRequest) -> Result<Executed, String> {
    if pillion_guard::PROGRAM.is_empty() {
        return Err("this build contains no guard for this system".to_owned());
    }
    let streams =
        Streams::open(request, None, None).map_err(|error| format!("no socket for the guard: {error}"))?;
    let mut failures = Vec::new();
    for store in platform::PLACES {
        let executed = store(pillion_guard::PROGRAM).and_then(|program| {
            let mut attempts = 0;
            loop {
                match spawn_with(command(program.path(), None, request), streams.of_guard()?) {
                    // A process that another thread has just forked still holds the file open for writing (execve(2)).
                    Err(error)
                        if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < BUSY_RETRIES =>
                    {
                        attempts += 1;
                        std::thread::sleep(BUSY_INTERVAL);
                    }
                    spawned => return Ok((spawned?, program)),
                }
            }
        });
        match executed {
            Ok((guard, program)) => {
                let Streams { control, outputs, .. } = streams;
                return Ok(Executed { guard, control, outputs, _program: Some(program) });
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(failures.join("; "))
}

/// What a guard is started with, both ends of each.
struct Streams {
    control: UnixStream,
    outputs: [OwnedFd; 2],
    /// The guard's ends: its standard streams.
    of_guard: [OwnedFd; 3],
}

impl Streams {
    /// Opens them, and sends our first message, which then waits for the guard: the guard does not have to wait for it.
    ///
    /// `value` is that of this program as a guard, which reads it first.
    fn open(request: &SpawnRequest, full: Option<BorrowedFd<'_>>, value: Option<&str>) -> io::Result<Self> {
        let ((control, end), (stdout, stdout_end), (stderr, stderr_end)) =
            without_spawns(|| io::Result::Ok((UnixStream::pair()?, io::pipe()?, io::pipe()?)))?;
        if cfg!(target_os = "macos") {
            // The buffer holds 8 KiB there (`net.local.stream.sendspace`), less than a prepared HTTP request may have.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&control, SEND_BUFFER);
        }
        let outputs = [stdout.into(), stderr.into()].map(set_aside);
        let control = UnixStream::from(set_aside(control.into()));
        (&control).write_all(value.unwrap_or_default().as_bytes())?;
        send_fds(&control, request, &outputs, full)?;
        Ok(Self { control, outputs, of_guard: [end.into(), stdout_end.into(), stderr_end.into()] })
    }

    /// A copy of the guard's ends, for one attempt to start it.
    fn of_guard(&self) -> io::Result<[OwnedFd; 3]> {
        let [control, stdout, stderr] = &self.of_guard;
        Ok([control.try_clone()?, stdout.try_clone()?, stderr.try_clone()?])
    }
}

/// Space for any process id. The guard replaces it by the id of the leader, after the fork.
const PID_PLACEHOLDER: &str = "00000000000000000000";

/// The variables by which the dynamic linker and libc would change the guard itself (ld.so(8), dyld(1)).
const LOADER_VARIABLES: [&str; 3] = ["LD_", "DYLD_", "GLIBC_TUNABLES"];

/// `value` is that of this program as a guard.
fn command(program: &Path, value: Option<&str>, request: &SpawnRequest) -> Command {
    let mut guard = Command::new(program);
    let grace = u64::try_from(request.grace.as_millis()).unwrap_or(u64::MAX);
    guard.args(value.map(own_program::argument)).arg(grace.to_string());
    guard.arg(if request.listener.is_some() { "1" } else { "0" });
    guard.arg(if request.stdin.is_some() { "1" } else { "0" });
    guard.arg(if request.run_file.is_some() { "1" } else { "0" });
    guard.arg(request.journal.as_ref().map_or(0, |(_, place)| place + 1).to_string());
    guard.arg(stop_argument(&request.stop));
    guard.arg(request.command.get_program()).args(request.command.get_args());
    // The request holds the complete environment: nothing else is inherited.
    guard.env_clear();
    for (name, value) in request.command.get_envs() {
        if let Some(value) = value {
            // Such variables are meant for the program. The guard gives them their names back before it starts the program.
            let is_for_loader =
                LOADER_VARIABLES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
            let prefix = if is_for_loader { "PILLION_GUARD_" } else { "" };
            guard.env([OsStr::new(prefix), name].iter().copied().collect::<OsString>(), value);
        }
    }
    if request.listener.is_some() {
        guard.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
        guard.env("LISTEN_PID", PID_PLACEHOLDER);
    }
    if request.watchdog {
        guard.env("WATCHDOG_PID", PID_PLACEHOLDER);
    }
    if let Some(dir) = request.command.get_current_dir() {
        guard.current_dir(dir);
    }
    guard
}

/// What each guard is called.
const NAME: &CStr = c"pillion-guard";

/// Starts a guard with these standard streams.
fn spawn_with(mut command: Command, [stdin, stdout, stderr]: [OwnedFd; 3]) -> io::Result<Pid> {
    command.arg0(OsStr::from_bytes(NAME.to_bytes())).stdin(stdin).stdout(stdout).stderr(stderr);
    spawn(&mut command).map(|child| pid(&child))
}

/// Starts the light guard, where that is possible in the way that costs less.
fn spawn_light(command: Command, streams: [OwnedFd; 3]) -> io::Result<Pid> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    {
        use std::os::fd::AsFd;

        let borrowed = streams.each_ref().map(AsFd::as_fd);
        let start = || platform::clone_light_guard(&command, NAME, borrowed);
        if let Some(started) = super::super::while_spawning(start) {
            return started;
        }
    }
    spawn_with(command, streams)
}

/// Gives a descriptor that stays open for long another number, where that makes starts cheaper.
fn set_aside(fd: OwnedFd) -> OwnedFd {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    let fd = platform::set_aside(fd);
    fd
}

/// The stop request in the form that the guard reads: signal, scope, and the text for stdin.
fn stop_argument(stop: &StopRequest) -> OsString {
    let scope = match stop.scope {
        StopScope::Leader => "leader",
        StopScope::Group => "group",
    };
    let mut argument = format!("{},{scope},", signal(stop.signal).as_raw()).into_bytes();
    // An argument cannot hold a zero byte.
    argument.extend(stop.stdin_bytes().unwrap_or_default().into_iter().filter(|byte| *byte != 0));
    OsString::from_vec(argument)
}
