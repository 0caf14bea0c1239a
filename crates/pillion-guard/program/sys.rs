//! The system calls that std does not have, and all of the guard's `unsafe`. What differs between the systems is in the
//! module named after each.

mod environment;
mod handover;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;
#[cfg(not(target_os = "linux"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod processes;

use std::{
    env,
    ffi::{CString, OsStr, c_char, c_int},
    fmt, fs, io,
    mem::ManuallyDrop,
    os::{
        fd::FromRawFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Command, ExitStatus},
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use macos as platform;
pub(crate) use platform::{ADOPTS, Kin, SIGCONT, kill};
use platform::{Count, O_NONBLOCK, SIGCHLD};

pub(crate) const SIGHUP: c_int = 1;
pub(crate) const SIGINT: c_int = 2;
pub(crate) const SIGQUIT: c_int = 3;
pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGTERM: c_int = 15;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const WNOHANG: c_int = 1;
const ENOENT: c_int = 2;
const POLLIN: i16 = 1;

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

unsafe extern "C" {
    fn setsid() -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    #[link_name = "kill"]
    fn libc_kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn poll(fds: *mut PollFd, count: Count, timeout: c_int) -> c_int;
    fn pipe(fds: *mut c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn write(fd: c_int, bytes: *const u8, count: usize) -> isize;
    fn read(fd: c_int, bytes: *mut u8, count: usize) -> isize;
    fn getppid() -> c_int;
    fn getpid() -> c_int;
    fn execve(
        file: *const c_char,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int;
    static environ: *const *const c_char;
}

/// A process id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pid(c_int);

impl From<u32> for Pid {
    fn from(pid: u32) -> Self {
        Self(pid.cast_signed())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the signal handler says that a child has died: the writing end of a pipe to ourselves, and the reading one.
static DEATHS: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// Takes the guard out of everything that could end it together with the app, and closes what it inherited. Takes over the
/// listener where there is one; whether that came.
pub(crate) fn stand_apart(listener: bool) -> bool {
    // SAFETY: none of these touches memory, but for `pipe`, which fills the two integers of its argument. The handler
    // calls nothing but write(2), which is async-signal-safe (signal-safety(7)).
    unsafe {
        setsid();
        for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal(ignored, SIG_IGN);
        }
        platform::become_guard();
        let listener = listener && handover::receive();
        let mut ends = [-1; 2];
        pipe(ends.as_mut_ptr());
        for (end, place) in ends.into_iter().zip(&DEATHS) {
            const F_SETFD: c_int = 2;
            const F_SETFL: c_int = 4;
            const FD_CLOEXEC: c_int = 1;
            fcntl(end, F_SETFD, FD_CLOEXEC);
            fcntl(end, F_SETFL, O_NONBLOCK);
            place.store(end, Ordering::Relaxed);
        }
        signal(SIGCHLD, on_death as extern "C" fn(c_int) as usize);
        listener
    }
}

extern "C" fn on_death(_: c_int) {
    // SAFETY: one byte of a constant goes to a descriptor of ours. A full pipe loses it, and wakes us all the same.
    unsafe { write(DEATHS[1].load(Ordering::Relaxed), b"x".as_ptr(), 1) };
}

/// Has the command's process undo what `stand_apart` did to signals, die with this one, and become the program.
///
/// It executes the program itself, because std does so with execvp(3), which hands a file that is no program to a shell:
/// that is to be an error.
pub(crate) fn bind_to_this_process(command: &mut Command, listener: bool) -> io::Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<CString> = words.map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
    let files = candidates(command.get_program())?;
    // SAFETY: getpid(2) has no preconditions; the closure calls only async-signal-safe functions between fork and exec.
    // The arguments are built in it, since pointers do not move between threads: in memory that is reserved before.
    unsafe {
        let guard = getpid();
        let mut arguments: Vec<usize> = words.iter().map(|word| word.as_ptr() as usize).collect();
        arguments.push(0);
        command.pre_exec(move || {
            let _keep = &words;
            for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD] {
                signal(ignored, SIG_DFL);
            }
            platform::become_sidecar();
            // The guard may have died before that was armed.
            if getppid() != guard {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if listener {
                handover::name_this_process(environ, getpid());
            }
            let mut error = io::Error::from_raw_os_error(ENOENT);
            for file in &files {
                execve(file.as_ptr(), arguments.as_ptr().cast(), environ);
                let last = io::Error::last_os_error();
                match last.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                    io::ErrorKind::PermissionDenied => error = last,
                    _ => return Err(last),
                }
            }
            Err(error)
        });
    }
    Ok(())
}

/// The files that a program's name may mean: itself when it is a path, else one in each folder of `PATH`.
fn candidates(program: &OsStr) -> io::Result<Vec<CString>> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![CString::new(program.as_bytes())?]);
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let files = env::split_paths(&path).map(|folder| folder.join(program));
    Ok(files.map(|file| CString::new(file.into_os_string().into_vec())).collect::<Result<_, _>>()?)
}

/// Lets go of what is the sidecar's: of its token, of its output, because whoever reads that waits for its end, and of its
/// listener.
pub(crate) fn let_go(listener: bool) {
    // SAFETY: there is one thread, which holds nothing of the environment, and the kernel put that on the stack.
    unsafe { environment::forget_token(environ) };
    if listener {
        handover::let_go();
    }
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        use std::os::fd::AsRawFd;
        // SAFETY: dup2(2) replaces two descriptors that nothing else in this process uses any more.
        unsafe {
            dup2(null.as_raw_fd(), 1);
            dup2(null.as_raw_fd(), 2);
        }
    }
}

/// The socket to the supervisor, which is our stdin.
pub(crate) fn control() -> ManuallyDrop<UnixStream> {
    // SAFETY: descriptor 0 stays open for as long as the process lives, since this never closes it.
    ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) })
}

/// What ended a wait.
pub(crate) enum Wait {
    Supervisor,
    Child,
    TimedOut,
}

/// Waits for the supervisor, unless it is gone, or for the death of a child.
pub(crate) fn wait(for_supervisor: bool, timeout: Option<Duration>) -> Wait {
    // poll(2) passes over negative descriptors.
    let control = if for_supervisor { 0 } else { -1 };
    let deaths = DEATHS[0].load(Ordering::Relaxed);
    let mut fds = [(control, 0), (deaths, 0)].map(|(fd, revents)| PollFd { fd, events: POLLIN, revents });
    let timeout = timeout.map_or(-1, |timeout| c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX));
    // SAFETY: `fds` is an array of two, as the call is told. EINTR shows as no event, and the caller looks again.
    unsafe { poll(fds.as_mut_ptr(), 2, timeout) };
    let [supervisor, child] = fds;
    // The supervisor first: where children die all the time, it would never be heard.
    if supervisor.revents != 0 {
        Wait::Supervisor
    } else if child.revents != 0 {
        let mut bytes = [0; 64];
        // SAFETY: at most as many bytes are read as the array has. The pipe is non-blocking.
        while unsafe { read(deaths, bytes.as_mut_ptr(), bytes.len()) } > 0 {}
        Wait::Child
    } else {
        Wait::TimedOut
    }
}

/// What there was to reap.
pub(crate) enum Reaped {
    Child(Pid, ExitStatus),
    NoneDead,
    NoneLeft,
}

/// Reaps one dead child.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the status is written to an integer of ours.
    match unsafe { waitpid(-1, &raw mut status, WNOHANG) } {
        0 => Reaped::NoneDead,
        pid if pid > 0 => Reaped::Child(Pid(pid), ExitStatus::from_raw(status)),
        _ => Reaped::NoneLeft,
    }
}

/// Sends a signal to a process group.
pub(crate) fn kill_group(group: Pid, signal: c_int) {
    // SAFETY: no memory is touched.
    unsafe { libc_kill(-group.0, signal) };
}

/// Somebody who came of the sidecar.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) group: Pid,
    /// When it was forked. A number can change hands; together with this it means one process.
    born: u64,
}

impl Process {
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.born == other.born
    }
}
