//! The system calls that std does not have, and all of the guard's `unsafe`.

use std::{
    env,
    ffi::{CString, OsStr, c_char, c_int, c_ulong},
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

pub(crate) const SIGHUP: c_int = 1;
pub(crate) const SIGINT: c_int = 2;
pub(crate) const SIGQUIT: c_int = 3;
pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGTERM: c_int = 15;
#[cfg(target_os = "linux")]
pub(crate) const SIGCONT: c_int = 18;
#[cfg(not(target_os = "linux"))]
pub(crate) const SIGCONT: c_int = 19;
#[cfg(target_os = "linux")]
const SIGCHLD: c_int = 17;
#[cfg(not(target_os = "linux"))]
const SIGCHLD: c_int = 20;

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const WNOHANG: c_int = 1;
const ENOENT: c_int = 2;
const POLLIN: i16 = 1;
#[cfg(target_os = "linux")]
const PR_SET_PDEATHSIG: c_int = 1;

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
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
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
    #[cfg(target_os = "linux")]
    fn prctl(option: c_int, ...) -> c_int;
    #[cfg(target_os = "linux")]
    fn close_range(first: u32, last: u32, flags: c_int) -> c_int;
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

/// Takes the guard out of everything that could end it together with the app, and closes what it inherited.
pub(crate) fn stand_apart() {
    // SAFETY: none of these touches memory, but for `pipe`, which fills the two integers of its argument. The handler
    // calls nothing but write(2), which is async-signal-safe (signal-safety(7)).
    unsafe {
        setsid();
        for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal(ignored, SIG_IGN);
        }
        #[cfg(target_os = "linux")]
        {
            const PR_SET_NAME: c_int = 15;
            const PR_SET_CHILD_SUBREAPER: c_int = 36;
            // Whoever stopped us, and then killed the app, has the kernel continue us: SIGCONT does so even where its
            // handler is the default. It comes at the end of each thread that is our parent, the app's last one at the
            // latest (PR_SET_PDEATHSIG(2const)), and to one that runs it is nothing.
            prctl(PR_SET_PDEATHSIG, SIGCONT as c_ulong);
            prctl(PR_SET_NAME, c"pillion-guard".as_ptr());
            prctl(PR_SET_CHILD_SUBREAPER, 1 as c_ulong);
            // Descriptors that the app did not mean to hand on.
            close_range(3, u32::MAX, 0);
        }
        let mut ends = [-1; 2];
        pipe(ends.as_mut_ptr());
        for (end, place) in ends.into_iter().zip(&DEATHS) {
            const F_SETFD: c_int = 2;
            const F_SETFL: c_int = 4;
            const FD_CLOEXEC: c_int = 1;
            const O_NONBLOCK: c_int = if cfg!(target_os = "linux") { 0o4000 } else { 4 };
            fcntl(end, F_SETFD, FD_CLOEXEC);
            fcntl(end, F_SETFL, O_NONBLOCK);
            place.store(end, Ordering::Relaxed);
        }
        signal(SIGCHLD, on_death as extern "C" fn(c_int) as usize);
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
pub(crate) fn bind_to_this_process(command: &mut Command) -> io::Result<()> {
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
            #[cfg(target_os = "linux")]
            prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong);
            // The guard may have died before that was armed.
            if getppid() != guard {
                return Err(io::ErrorKind::BrokenPipe.into());
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

/// Stdout and stderr were the sidecar's: whoever reads them waits for their end.
pub(crate) fn let_go_of_output() {
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
    if child.revents != 0 {
        let mut bytes = [0; 64];
        // SAFETY: at most as many bytes are read as the array has. The pipe is non-blocking.
        while unsafe { read(deaths, bytes.as_mut_ptr(), bytes.len()) } > 0 {}
        Wait::Child
    } else if supervisor.revents != 0 {
        Wait::Supervisor
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

/// Sends a signal to a process.
pub(crate) fn kill(pid: Pid, signal: c_int) {
    // SAFETY: no memory is touched.
    unsafe { libc_kill(pid.0, signal) };
}

/// A child of ours, and the group it is in.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) group: Pid,
}

/// Our children, adopted ones included. Empty where there is no `/proc`.
pub(crate) fn children() -> Vec<Child> {
    // SAFETY: getpid(2) has no preconditions.
    let own = unsafe { getpid() };
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: c_int| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // State, parent and group (proc_pid_stat(5)) stand behind a name that may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
            let parent: c_int = fields.next()?.parse().ok()?;
            let group = Pid(fields.next()?.parse().ok()?);
            (parent == own).then_some(Child { pid: Pid(pid), group })
        })
        .collect()
}
