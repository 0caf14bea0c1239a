//! What runs in the two children: in the process that becomes the guard, and in that of the sidecar, which the first one starts.
//!
//! Both share this program's memory until they execute theirs, while the thread that starts them waits. They allocate nothing, take no lock,
//! and call only what is async-signal-safe (signal-safety(7)); they set that thread's `errno` at most. The table of descriptors and that of
//! signals are their own before one of them changes it.

use std::{
    convert::Infallible,
    ffi::{c_char, c_int, c_uint, c_ulong},
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
};

use pillion_guard::decimal::for_each_digit;

use super::vfork::{Stack, Vfork};

/// What the children need. They change the [`Results`], and what the pointers to `mut` point to.
pub(super) struct Launch {
    pub(super) vfork: Vfork,
    pub(super) descriptors: Descriptors,
    pub(super) sidecar: SidecarLaunch,
    pub(super) guard: GuardLaunch,
    pub(super) results: Results,
}

/// A list ends with a null pointer, a text with a zero.
pub(super) type List = *const *mut c_char;

pub(super) struct SidecarLaunch {
    /// The files that can be the program, the best first.
    pub(super) files: List,
    pub(super) arguments: List,
    pub(super) environment: List,
    /// Empty: that of this process.
    pub(super) directory: List,
    /// Its standard streams.
    pub(super) streams: [c_int; 3],
    /// Space for its process id and a zero; null if it is not to be told.
    pub(super) pid_places: [*mut u8; 2],
    pub(super) stack: *mut Stack,
}

pub(super) struct GuardLaunch {
    /// One file.
    pub(super) file: List,
    pub(super) arguments: List,
    pub(super) environment: List,
    /// Space for the sidecar's process id and a zero.
    pub(super) leader_place: *mut u8,
}

/// The descriptors of the guard, and those that its start needs.
pub(super) struct Descriptors {
    /// Their numbers in this process, each below `first`, at their [places](place).
    pub(super) numbers: [Option<c_int>; place::COUNT],
    /// They get other numbers in the guard: from here on, in this order and without gaps.
    pub(super) first: c_int,
}

impl Descriptors {
    /// The number that this descriptor gets in the guard.
    pub(super) fn number(&self, at: usize) -> Option<c_int> {
        let before = self.numbers.iter().take(at).flatten().zip(1..).last().map_or(0, |(_, count)| count);
        self.numbers.get(at)?.map(|_| self.first + before)
    }
}

/// Which descriptors these are, in the order of their numbers in the guard.
pub(super) mod place {
    pub(in super::super) const LIFELINE: usize = 0;
    pub(in super::super) const RUN_FILE: usize = 1;
    pub(in super::super) const JOURNAL: usize = 2;
    pub(in super::super) const OUTPUTS: [usize; 2] = [3, 4];
    pub(in super::super) const FULL: usize = 5;
    /// Those before this one stay open when the guard is executed.
    pub(in super::super) const KEPT: usize = 6;
    pub(in super::super) const CONTROL: usize = 6;
    pub(in super::super) const LISTENER: usize = 7;
    pub(in super::super) const LIGHT: usize = 8;
    pub(in super::super) const COUNT: usize = 9;
}

/// What has become of it.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Whether the death of the app's thread wakes the guard (`PR_SET_PDEATHSIG`), and whether it adopts orphans (`PR_SET_CHILD_SUBREAPER`).
    pub(super) wakes: AtomicBool,
    pub(super) adopts: AtomicBool,
    /// The process ids, once there are such processes.
    pub(super) guard: AtomicI32,
    pub(super) leader: AtomicI32,
    /// Clock ticks since the boot, shortly before and after the sidecar's process was started.
    pub(super) started: [AtomicU64; 2],
    /// Whether the sidecar's process may use this memory.
    pub(super) in_use: AtomicBool,
    /// Why the sidecar's program could not be executed, an error number; or 0.
    pub(super) program_error: AtomicI32,
    /// Why the guard could not be executed, an error number; or 0. What it had started was killed.
    pub(super) guard_error: AtomicI32,
}

/// Clock ticks since the boot, in which `/proc/PID/stat` tells the start of a process (`proc_pid_stat(5)`).
fn ticks() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills the structure, and cannot fail with this clock.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, time.as_mut_ptr());
        time.assume_init()
    };
    // USER_HZ is 100 on every architecture of Rust's std (time(7)).
    time.tv_sec.unsigned_abs() * 100 + time.tv_nsec.unsigned_abs() / 10_000_000
}

/// An error number, of the call that has just failed.
fn errno() -> c_int {
    // SAFETY: a read of this thread's own.
    unsafe { *libc::__errno_location() }
}

/// The id of this process. glibc before 2.25 would tell that of the app, which it has remembered in the memory (getpid(2)).
fn own_process() -> c_int {
    // SAFETY: touches no memory.
    c_int::try_from(unsafe { libc::syscall(libc::SYS_getpid) }).unwrap_or(-1)
}

fn checked(result: c_int) -> Result<c_int, c_int> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// Closes the descriptors from `first` to `last`, in a table of this process alone (`CLOSE_RANGE_UNSHARE`, `close_range(2)`): what is above
/// `last` is not copied if `last` is the highest number.
fn close_range(first: c_int, last: c_uint) -> Result<(), c_int> {
    // SAFETY: touches no memory.
    let result = unsafe {
        libc::syscall(libc::SYS_close_range, first.unsigned_abs(), last, libc::CLOSE_RANGE_UNSHARE)
    };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

/// Runs in the process that becomes the guard. `launch` is valid, as its types say, and all signals wait.
pub(super) extern "C" fn become_guard(launch: *const Launch) -> ! {
    // SAFETY: the parent waits, and shares the memory.
    let launch = unsafe { &*launch };
    // SAFETY: as above.
    let Err(error) = unsafe { try_become_guard(launch) };
    launch.results.guard_error.store(error, Ordering::Relaxed);
    // SAFETY: ends this process, and runs nothing of the parent's.
    unsafe { libc::_exit(127) }
}

/// # Safety
/// To be called in the child alone, whose pointers are valid.
unsafe fn try_become_guard(launch: &Launch) -> Result<Infallible, c_int> {
    let Launch { descriptors, guard, sidecar, results, .. } = launch;
    close_range(descriptors.first, c_uint::MAX)?;
    // SAFETY: these calls touch no memory but this process's own. Handlers are set for this process alone.
    unsafe {
        libc::setsid();
        // The app's death must continue a guard that was stopped.
        results.wakes.store(
            libc::prctl(libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGCONT.unsigned_abs())) == 0,
            Ordering::Relaxed,
        );
        results
            .adopts
            .store(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, c_ulong::from(true)) == 0, Ordering::Relaxed);
        for ignored in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            libc::signal(ignored, libc::SIG_IGN);
        }
        // An app that ignores it would pass that on, and the kernel would reap our children (wait(2)).
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        results.guard.store(own_process(), Ordering::Relaxed);
    }
    for (at, descriptor) in descriptors.numbers.iter().enumerate() {
        if let Some(descriptor) = descriptor {
            let copy = if at < place::KEPT { libc::F_DUPFD } else { libc::F_DUPFD_CLOEXEC };
            // SAFETY: touches no memory. The free numbers from `first` on are given in turn.
            checked(unsafe { libc::fcntl(*descriptor, copy, descriptors.first) })?;
        }
    }
    for (stream, standard) in sidecar.streams.into_iter().zip(0..) {
        // SAFETY: touches no memory.
        checked(unsafe { libc::dup2(stream, standard) })?;
    }
    // Of this process, that is, what the guard and the sidecar must not hold.
    close_range(libc::STDERR_FILENO + 1, (descriptors.first - 1).unsigned_abs())?;
    start_sidecar(launch)?;
    // SAFETY: the pointers are valid. The place is written before the program reads it.
    unsafe {
        write_number(guard.leader_place, results.leader.load(Ordering::Relaxed));
        let control = descriptors.number(place::CONTROL).unwrap_or(-1);
        if libc::dup2(control, libc::STDIN_FILENO) == 0 {
            libc::close(libc::STDOUT_FILENO);
            libc::close(libc::STDERR_FILENO);
            execve(*guard.file, guard.arguments, guard.environment);
        }
    }
    let error = errno();
    end_sidecar(results.leader.load(Ordering::Relaxed));
    Err(error)
}

/// Starts the sidecar's process, and waits until that has executed the program, or ended.
fn start_sidecar(launch: &Launch) -> Result<(), c_int> {
    let results = &launch.results;
    results.in_use.store(true, Ordering::Relaxed);
    results.started[0].store(ticks(), Ordering::Relaxed);
    // SAFETY: `become_sidecar` does as it must. If this process is killed, the parent sees `in_use`, and keeps the memory.
    let started = unsafe { launch.vfork.start(false, launch.sidecar.stack, become_sidecar, launch) };
    results.in_use.store(false, Ordering::Relaxed);
    let error = match started {
        Ok(leader) => {
            results.leader.store(leader.as_raw_nonzero().get(), Ordering::Relaxed);
            results.program_error.load(Ordering::Relaxed)
        }
        Err(error) => {
            results.program_error.store(error, Ordering::Relaxed);
            error
        }
    };
    if error == 0 {
        return Ok(());
    }
    // SAFETY: a child that has ended, if there is one.
    unsafe { libc::waitpid(-1, ptr::null_mut(), 0) };
    Err(error)
}

/// Kills the sidecar's process group, and waits for its first process.
fn end_sidecar(leader: c_int) {
    // SAFETY: touches no memory; the process is a child that is not reaped.
    unsafe {
        libc::kill(-leader, libc::SIGKILL);
        libc::kill(leader, libc::SIGKILL);
        libc::waitpid(leader, ptr::null_mut(), 0);
    }
}

/// Runs in the sidecar's process.
extern "C" fn become_sidecar(launch: *const Launch) -> ! {
    // SAFETY: both parents wait, and share the memory; or the memory is kept.
    let launch = unsafe { &*launch };
    // SAFETY: as above.
    let Err(error) = unsafe { try_become_sidecar(launch) };
    launch.results.program_error.store(error, Ordering::Relaxed);
    // SAFETY: ends this process, and runs nothing of the parents'.
    unsafe { libc::_exit(127) }
}

/// # Safety
/// As for [`try_become_guard`].
unsafe fn try_become_sidecar(launch: &Launch) -> Result<Infallible, c_int> {
    /// Where the sidecar expects a listener: the first descriptor after the standard streams (`SD_LISTEN_FDS_START`).
    const FIRST_LISTENER: c_int = 3;
    let Launch { descriptors, sidecar, results, .. } = launch;
    results.started[1].store(ticks(), Ordering::Relaxed);
    // SAFETY: these calls touch no memory but this process's own.
    unsafe {
        libc::setpgid(0, 0);
        reset_signals(launch.vfork);
        libc::prctl(libc::PR_SET_PDEATHSIG, c_ulong::from(libc::SIGKILL.unsigned_abs()));
        // The guard may have died before the death signal was set.
        if libc::getppid() != results.guard.load(Ordering::Relaxed) {
            return Err(libc::EPIPE);
        }
        if let Some(directory) = ptr::NonNull::new(*sidecar.directory) {
            checked(libc::chdir(directory.as_ptr()))?;
        }
    }
    let mut unneeded = FIRST_LISTENER;
    if let Some(listener) = descriptors.number(place::LISTENER) {
        // SAFETY: touches no memory.
        checked(unsafe { libc::dup2(listener, FIRST_LISTENER) })?;
        unneeded += 1;
    }
    close_range(unneeded, c_uint::MAX)?;
    for place in sidecar.pid_places {
        if !place.is_null() {
            // SAFETY: the place has space for it.
            unsafe { write_number(place, own_process()) };
        }
    }
    // SAFETY: the lists are valid.
    Err(unsafe { execute(sidecar) })
}

/// Sets each signal as a program expects it that std starts, and lets none wait. What this app ignores stays ignored.
///
/// # Safety
/// To be called in the sidecar's process, before which all signals wait.
unsafe fn reset_signals(vfork: Vfork) {
    // SAFETY: the calls use local memory. No handler of the app is left when the signals no longer wait.
    unsafe {
        if vfork == Vfork::Clone {
            for signal in 1..=libc::SIGRTMAX() {
                let mut action = MaybeUninit::<libc::sigaction>::uninit();
                if libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
                    && action.assume_init().sa_sigaction != libc::SIG_IGN
                {
                    libc::signal(signal, libc::SIG_DFL);
                }
            }
        }
        // The guard ignores the first four, and std the last one.
        for changed in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
            libc::signal(changed, libc::SIG_DFL);
        }
        let mut none = MaybeUninit::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// execve(2), but never one that a preloaded library (ld.so(8)) has put in its place: such functions need more stack than there is, and the
/// one that `posix_spawn(3)` calls is not replaced either. Returns if the program cannot be executed.
///
/// # Safety
/// The lists and the file are valid.
unsafe fn execve(file: *const c_char, arguments: List, environment: List) {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(libc::SYS_execve, file, arguments, environment) };
}

/// Executes the first file that can be executed, as execvp(3) looks for it, but never by a shell. Returns the error number that says most.
///
/// # Safety
/// The lists are valid.
unsafe fn execute(sidecar: &SidecarLaunch) -> c_int {
    let mut error = libc::ENOENT;
    let mut file = sidecar.files;
    // SAFETY: the list ends with a null pointer.
    while let Some(path) = unsafe { ptr::NonNull::new(*file) } {
        // SAFETY: the path ends with a zero.
        unsafe { execve(path.as_ptr(), sidecar.arguments, sidecar.environment) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            refused @ (libc::EACCES | libc::EPERM) => error = refused,
            last => return last,
        }
        // SAFETY: as above.
        file = unsafe { file.add(1) };
    }
    error
}

/// # Safety
/// The place has space for any process id and a zero, and only this process uses it.
unsafe fn write_number(mut place: *mut u8, number: c_int) {
    // SAFETY: the caller upholds it.
    unsafe {
        for_each_digit(number.unsigned_abs().into(), |digit| {
            place.write(digit);
            place = place.add(1);
        });
        place.write(0);
    }
}

/// Runs in the process that executes the guard for a trial.
pub(super) extern "C" fn try_guard(trial: *const Trial) -> ! {
    // SAFETY: the parent waits, and shares the memory.
    let trial = unsafe { &*trial };
    trial.shares_memory.store(true, Ordering::Relaxed);
    if close_range(trial.first, c_uint::MAX).is_ok() {
        // SAFETY: the file and the lists are valid.
        unsafe { execve(*trial.file, trial.arguments, trial.environment) };
    }
    trial.failed.store(true, Ordering::Relaxed);
    // SAFETY: ends this process, and runs nothing of the parent's.
    unsafe { libc::_exit(127) }
}

/// What the trial needs.
pub(super) struct Trial {
    /// One file.
    pub(super) file: List,
    pub(super) arguments: List,
    pub(super) environment: List,
    /// A number above that of the program's descriptor.
    pub(super) first: c_int,
    /// Set by the child: an emulation may copy the memory.
    pub(super) shares_memory: AtomicBool,
    /// Set by the child: the guard could not be executed.
    pub(super) failed: AtomicBool,
}
