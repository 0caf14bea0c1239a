//! Starts a guard's program, with the sidecar's program as its arguments.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
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

use pillion_guard::names;
use rustix::process::{Pid, Signal, kill_process};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use super::super::super::linux::light_guard::{self, LightGuard};
use super::{
    super::{
        super::{
            Known, SpawnRequest, own_program,
            platform::{self, GuardProgram},
        },
        own_variables, pid, reap, signal, spawn, without_spawns,
    },
    control::{read_start_report, send_fds},
};
use crate::spec::{StopRequest, StopScope};

/// How often, and at which interval, a busy file is executed again.
const BUSY_RETRIES: u32 = 100;
const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// Space for commands that a stopped guard does not read.
const SEND_BUFFER: usize = 256 * 1024;

/// A guard that runs, and has started the program.
#[derive(Debug)]
pub(super) struct Launched {
    /// A child that is not reaped.
    pub(super) guard: Pid,
    pub(super) leader: Pid,
    /// What identifies the leader besides its process id.
    pub(super) identity: Option<u64>,
    /// Our end of the control socket.
    pub(super) control: UnixStream,
    /// The read ends of the sidecar's output.
    pub(super) outputs: [OwnedFd; 2],
    /// What the guard cannot do.
    pub(super) limited: Option<String>,
}

/// A guard's process, which may not have executed its program yet.
#[derive(Debug)]
struct Executed {
    /// A child that is not reaped.
    guard: Pid,
    control: UnixStream,
    outputs: [OwnedFd; 2],
    /// Keep it until the guard has sent its first line, which shows that the system has executed the program.
    _program: Option<GuardProgram>,
}

/// A program that can be the guard.
#[derive(Debug)]
pub(super) enum Way {
    /// The light guard, where there is one.
    Light,
    /// The full guard, which is inside this program.
    Full,
    /// This program itself, if it becomes a guard when it is started as one.
    Own(AtomicBool),
}

/// The best first. macOS examines each new file before its first run, forbids it to some apps, and knows this program. Elsewhere this
/// program comes last: it may be large, and take long to load.
static WAYS: [Way; 3] = if cfg!(target_os = "macos") {
    [Way::Own(AtomicBool::new(false)), Way::Light, Way::Full]
} else {
    [Way::Light, Way::Full, Way::Own(AtomicBool::new(false))]
};

impl Way {
    /// The ways that have not failed: what the system refused one guard, it would refuse the next one.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        WAYS.iter().filter(|way| !matches!(way, Self::Own(failed) if failed.load(Ordering::Relaxed)))
    }

    /// Starts the guard and the program. `None` if there is no guard of this kind. The outer error is the program's; the inner one says why no
    /// guard runs, nor anything that it has started.
    pub(super) fn start(&self, request: &SpawnRequest) -> io::Result<Option<Result<Launched, String>>> {
        let executed = match self {
            Self::Light => return start_light(request),
            Self::Full => execute_full(request),
            Self::Own(_) => match own_program::file() {
                Some(program) => program.and_then(|program| execute_own(program, request)),
                None => return Ok(None),
            },
        };
        let executed = match executed {
            Ok(executed) => executed,
            Err(why) => return Ok(Some(Err(why))),
        };
        Ok(Some(connect(request, executed)?.map_err(|error| {
            if let Self::Own(failed) = self {
                failed.fetch_or(has_ended(&error), Ordering::Relaxed);
            }
            format!("the guard did not answer: {error}")
        })))
    }
}

/// Whether the guard has closed its end of the socket: before it read our message, or after.
fn has_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Waits until the guard has started the program. The outer error is the program's, the inner one the guard's, which runs no more,
/// nor does anything that it has started.
fn connect(request: &SpawnRequest, executed: Executed) -> io::Result<io::Result<Launched>> {
    let guard = executed.guard;
    match read_start_report(&executed.control) {
        Ok(Ok((leader, limited))) => {
            let Executed { control, outputs, .. } = executed;
            let identity = platform::identity_of_child(leader, guard);
            Ok(Ok(Launched { guard, leader, identity, control, outputs, limited }))
        }
        Ok(Err(error)) => {
            reap(guard, true);
            Err(error)
        }
        Err(error) => {
            // Silent or dead. The program may run all the same, if the guard was killed before it could say so: the system ends the
            // first process then, and this what that has started.
            let _ = kill_process(guard, Signal::KILL);
            // The guard is not reaped yet, so that no other session has this number.
            let known =
                Known { marker: request.marker.clone(), session: Some(guard), remembered: Vec::new() };
            platform::sweep(&known);
            reap(guard, false);
            Ok(Err(error))
        }
    }
}

/// Starts the program, and the light guard.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn start_light(request: &SpawnRequest) -> io::Result<Option<Result<Launched, String>>> {
    use std::os::fd::AsFd;

    let Ok(Streams { control, outputs, of_guard }) = Streams::open() else { return Ok(None) };
    let [end, stdout, stderr] = of_guard.each_ref().map(AsFd::as_fd);
    let ends = light_guard::Ends {
        control: end,
        streams: [stdout, stderr],
        outputs: outputs.each_ref().map(AsFd::as_fd),
    };
    let started = light_guard::start(request, &stop_argument(&request.stop), &ends)?;
    Ok(Some(started.map(|LightGuard { guard, leader, start_time, limited }| {
        let identity = start_time.or_else(|| platform::identity_of_child(leader, guard));
        Launched { guard, leader, identity, control, outputs, limited: limited.map(str::to_owned) }
    })))
}

/// There is none.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[expect(clippy::unnecessary_wraps, reason = "the signature is the same on every system")]
fn start_light(_: &SpawnRequest) -> io::Result<Option<Result<Launched, String>>> {
    Ok(None)
}

/// Starts this program as a guard.
fn execute_own(program: &Path, request: &SpawnRequest) -> Result<Executed, String> {
    let execute = || {
        let value = own_program::fresh_value()?;
        let Streams { control, outputs, of_guard } = Streams::with_message(request, Some(&value))?;
        let guard = spawn_with(command(program, Some(&value), request), of_guard)?;
        Ok(Executed { guard, control, outputs, _program: None })
    };
    execute().map_err(|error: io::Error| format!("this program cannot be executed as a guard: {error}"))
}

/// Starts the full guard from the first place from where the system executes it; or says why from none.
fn execute_full(request: &SpawnRequest) -> Result<Executed, String> {
    if pillion_guard::PROGRAM.is_empty() {
        return Err("this build contains no guard for this system".to_owned());
    }
    let streams =
        Streams::with_message(request, None).map_err(|error| format!("no socket for the guard: {error}"))?;
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
    fn open() -> io::Result<Self> {
        let ((control, end), (stdout, stdout_end), (stderr, stderr_end)) =
            without_spawns(|| io::Result::Ok((UnixStream::pair()?, io::pipe()?, io::pipe()?)))?;
        if cfg!(target_os = "macos") {
            // The buffer holds 8 KiB there (`net.local.stream.sendspace`), less than a prepared HTTP request may have.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&control, SEND_BUFFER);
        }
        let outputs = [stdout.into(), stderr.into()].map(set_aside);
        let control = UnixStream::from(set_aside(control.into()));
        Ok(Self { control, outputs, of_guard: [end.into(), stdout_end.into(), stderr_end.into()] })
    }

    /// Opens them, and sends our first message, which then waits for the guard: the guard does not have to wait for it.
    ///
    /// `value` is that of this program as a guard, which reads it first.
    fn with_message(request: &SpawnRequest, value: Option<&str>) -> io::Result<Self> {
        let streams = Self::open()?;
        (&streams.control).write_all(value.unwrap_or_default().as_bytes())?;
        send_fds(&streams.control, request, &streams.outputs)?;
        Ok(streams)
    }

    /// A copy of the guard's ends, for one attempt to start it.
    fn of_guard(&self) -> io::Result<[OwnedFd; 3]> {
        let [control, stdout, stderr] = &self.of_guard;
        Ok([control.try_clone()?, stdout.try_clone()?, stderr.try_clone()?])
    }
}

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
    guard.envs(own_variables(request));
    if let Some(dir) = request.command.get_current_dir() {
        guard.current_dir(dir);
    }
    guard
}

/// Starts a guard with these standard streams.
fn spawn_with(mut command: Command, [stdin, stdout, stderr]: [OwnedFd; 3]) -> io::Result<Pid> {
    command.arg0(OsStr::from_bytes(names::GUARD.to_bytes())).stdin(stdin).stdout(stdout).stderr(stderr);
    spawn(&mut command).map(|child| pid(&child))
}

/// Gives a descriptor that stays open for long another number, where that makes starts cheaper.
fn set_aside(fd: OwnedFd) -> OwnedFd {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    let fd = light_guard::set_aside(fd);
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

// macOS has no setsid(1), and hides the environment of its own programs.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read as _;

    use super::{super::super::test_request, *};

    /// A program whose first process ends with its guard, as the system makes it. The daemon that it has started does not.
    #[test]
    fn a_guard_that_is_killed_before_it_reports_leaves_nothing() {
        let marker = format!("PILLION_INSTANCE={}", std::process::id());
        let (control, end) = UnixStream::pair().unwrap();
        let (mut output, output_end) = io::pipe().unwrap();
        // What lives longer than it should ends with this test.
        let (input, _input_end) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sh -c 'echo up; read end <&2' & read up; kill -KILL $$"]);
        let (variable, value) = marker.split_once('=').unwrap();
        command.env(variable, value).stdin(OwnedFd::from(end)).stdout(output_end).stderr(input);
        let guard = pid(&spawn(&mut command).unwrap());
        // With our copies of its streams.
        drop(command);
        let mut line = [0; 3];
        output.read_exact(&mut line).unwrap();
        (&control).write_all(b"the daemon runs\n").unwrap();

        let outputs = [output.try_clone().unwrap(), io::pipe().unwrap().0].map(OwnedFd::from);
        let executed = Executed { guard, control, outputs, _program: None };
        let request = SpawnRequest { marker, ..test_request(Command::new("unused")) };
        let error = connect(&request, executed).unwrap().unwrap_err();
        assert!(has_ended(&error), "{error}");
        // All of them held the write end.
        rustix::io::ioctl_fionbio(&output, true).unwrap();
        assert_eq!(output.read(&mut line).unwrap(), 0, "the daemon lives");
    }
}
