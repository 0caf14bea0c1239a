//! The light guard's system calls, and all of its `unsafe`. It has no C library: [`call`] makes the calls.

mod call;
#[cfg(pillion_light)]
mod entry;
mod full;
mod look;

use core::{
    ffi::{c_char, c_int},
    ptr,
    time::Duration,
};

use crate::names::GUARD;
use call::call3;
pub(crate) use call::exit;
pub(crate) use full::{can_execute, end_children, execute_full};
pub(crate) use look::{has_other_processes, proc_is_ours};

pub(crate) const SIGKILL: c_int = 9;
const SIGCHLD: c_int = 17;
pub(crate) const SIGCONT: c_int = 18;
const EINTR: isize = -4;
const EAGAIN: isize = -11;
/// The socket to the supervisor.
const CONTROL: c_int = 0;

/// As an argument of a system call, where a negative number fills the register with its sign.
fn word(number: c_int) -> usize {
    (number as isize).cast_unsigned()
}

/// The arguments and the environment of this process, where the kernel has put them: at the upper end of the stack.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    /// A list of strings that ends with a null pointer, and so is the environment behind it.
    arguments: *const *const u8,
    environment: *const *const c_char,
}

impl Process {
    /// # Safety
    /// `stack` is the stack pointer of the process when it started: the number of arguments is there (System V ABI, AMD64 supplement).
    #[cfg(pillion_light)]
    pub(crate) unsafe fn at(stack: *const usize) -> Self {
        // SAFETY: behind the number there are as many arguments, a null pointer, and the environment.
        unsafe {
            let arguments = stack.add(1).cast::<*const u8>();
            Self { arguments, environment: arguments.add(*stack + 1).cast() }
        }
    }

    /// The argument, without the zero that ends it.
    pub(crate) fn argument(&self, at: usize) -> Option<&'static [u8]> {
        // SAFETY: the list ends with a null pointer, before which this loop ends. Each argument ends with a zero. The arguments stay
        // for as long as the process lives, and nothing changes them.
        unsafe {
            for before in 0..=at {
                if (*self.arguments.add(before)).is_null() {
                    return None;
                }
            }
            let start = *self.arguments.add(at);
            let mut length = 0;
            while *start.add(length) != 0 {
                length += 1;
            }
            Some(core::slice::from_raw_parts(start, length))
        }
    }
}

/// Gives this process its name, instead of that of a descriptor (prctl(2)).
pub(crate) fn name_guard() {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the kernel reads the name, a constant that ends with a zero.
    unsafe { call3(call::PRCTL, PR_SET_NAME, GUARD.as_ptr().addr(), 0) };
}

/// The size of a set of signals for the kernel, in bytes.
const MASK_SIZE: usize = 8;

/// Sets which signals wait.
fn set_mask(mask: u64) {
    const SIG_SETMASK: usize = 2;
    // SAFETY: the kernel reads the mask.
    unsafe { call::call(call::RT_SIGPROCMASK, [SIG_SETMASK, (&raw const mask).addr(), 0, MASK_SIZE, 0, 0]) };
}

/// A descriptor that becomes readable when a child may have died, even if that was before (signalfd(2)). `None` if there is none left.
pub(crate) fn watch_children() -> Option<c_int> {
    // The supervisor has left all signals waiting.
    set_mask(1 << (SIGCHLD - 1));
    const SFD_NONBLOCK_CLOEXEC: usize = 0o2_004_000;
    let mask: u64 = 1 << (SIGCHLD - 1);
    let address = (&raw const mask).addr();
    // SAFETY: the kernel reads the mask.
    let fd =
        unsafe { call::call(call::SIGNALFD4, [word(-1), address, MASK_SIZE, SFD_NONBLOCK_CLOEXEC, 0, 0]) };
    c_int::try_from(fd).ok().filter(|fd| *fd >= 0)
}

/// A descriptor that becomes readable when the app has ended, and stays open when the full guard is executed (`pidfd_open(2)`): a process
/// that the app has forked, and that executes nothing, keeps the app's end of the socket open. `None` before Linux 5.3, or where a sandbox
/// refuses the call. An app that has ended already is noticed by the end of the socket alone.
pub(crate) fn watch_app() -> Option<c_int> {
    const F_DUPFD: usize = 0;
    /// The numbers below are those of the standard streams, which `execute_full` replaces.
    const LOWEST: usize = 3;
    let valid = |fd: isize| c_int::try_from(fd).ok().filter(|fd| *fd >= 0);
    // SAFETY: these calls touch no memory.
    unsafe {
        let app = call3(call::GETPPID, 0, 0, 0);
        let closes = valid(call3(call::PIDFD_OPEN, app.cast_unsigned(), 0, 0))?;
        let stays = valid(call3(call::FCNTL, word(closes), F_DUPFD, LOWEST));
        close(closes);
        stays
    }
}

/// Closes a descriptor that nothing uses any more.
pub(crate) fn close(fd: c_int) {
    // SAFETY: touches no memory.
    unsafe { call3(call::CLOSE, word(fd), 0, 0) };
}

/// What ended a wait; several may have.
pub(crate) struct Wake {
    pub(crate) supervisor: bool,
    pub(crate) app_ended: bool,
    pub(crate) child: bool,
}

/// Waits for the supervisor, for the end of the app, for the death of a child, or for the time to pass.
pub(crate) fn wait(children: c_int, app: Option<c_int>, time: Option<Duration>) -> Wake {
    #[repr(C)]
    struct PollFd {
        fd: c_int,
        events: i16,
        revents: i16,
    }
    const POLLIN: i16 = 1;
    // ppoll(2) ignores negative descriptors.
    let mut fds = [CONTROL, app.unwrap_or(-1), children].map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    let mut time = time.map(|time| [time.as_secs(), time.subsec_nanos().into()]);
    let time = time.as_mut().map_or(ptr::null_mut(), |time| time.as_mut_ptr());
    // SAFETY: the kernel writes to the three structures and to the time, which it sets to what was left. On EINTR no event is set.
    unsafe { call::call(call::PPOLL, [fds.as_mut_ptr().addr(), fds.len(), time.addr(), 0, 0, 0]) };
    let [supervisor, app, child] = fds;
    if child.revents != 0 {
        let mut signal = [0_u64; 16];
        // SAFETY: the kernel writes one `struct signalfd_siginfo` of 128 bytes. Several deaths make one signal.
        unsafe { call3(call::READ, word(children), signal.as_mut_ptr().addr(), 128) };
    }
    Wake {
        supervisor: supervisor.revents != 0,
        app_ended: app.revents & POLLIN != 0,
        child: child.revents != 0,
    }
}

/// The supervisor's next command, which stays in the socket.
pub(crate) enum Command {
    Byte(u8),
    /// No command after all.
    Nothing,
    /// The supervisor is gone.
    End,
}

/// Looks at the supervisor's next command, and leaves it in the socket.
pub(crate) fn peek_command() -> Command {
    const MSG_PEEK: usize = 2;
    receive_byte(MSG_PEEK)
}

/// Takes the command that [`peek_command`] has shown.
pub(crate) fn take_command() {
    receive_byte(0);
}

fn receive_byte(flags: usize) -> Command {
    const MSG_DONTWAIT: usize = 0x40;
    let mut byte = 0_u8;
    let address = (&raw mut byte).addr();
    // SAFETY: the kernel writes at most one byte.
    match unsafe { call::call(call::RECVFROM, [word(CONTROL), address, 1, flags | MSG_DONTWAIT, 0, 0]) } {
        1 => Command::Byte(byte),
        EAGAIN | EINTR => Command::Nothing,
        _ => Command::End,
    }
}

/// Sends text to the supervisor. Returns false if that is gone.
pub(crate) fn report(text: &[u8]) -> bool {
    const MSG_NOSIGNAL: usize = 0x4000;
    let arguments = [word(CONTROL), text.as_ptr().addr(), text.len(), MSG_NOSIGNAL, 0, 0];
    loop {
        // SAFETY: the kernel reads the text.
        match unsafe { call::call(call::SENDTO, arguments) } {
            EINTR => {}
            sent => return sent >= 0,
        }
    }
}

/// Sends a signal to a child that is not reaped.
pub(crate) fn kill(child: c_int, signal: c_int) {
    // SAFETY: touches no memory.
    unsafe { call3(call::KILL, word(child), word(signal), 0) };
}

/// The result of one attempt to reap.
pub(crate) enum Reaped {
    /// A child, and its status as wait(2) returns it.
    Child(c_int, c_int),
    NoneDead,
    NoneLeft,
}

/// Lets threads of this processor run that are ready to, before this one goes on.
pub(crate) fn let_others_run() {
    // Once lets one thread run, and a thread that the end of another sidecar has woken may come first. Each time more takes longer on a
    // processor that other programs use.
    for _ in 0..2 {
        // SAFETY: touches no memory.
        unsafe { call3(call::SCHED_YIELD, 0, 0, 0) };
    }
}

/// Reaps one dead child.
pub(crate) fn reap() -> Reaped {
    const WNOHANG: usize = 1;
    let mut status: c_int = 0;
    // SAFETY: the kernel writes the status to a local integer.
    match unsafe { call3(call::WAIT4, word(-1), (&raw mut status).addr(), WNOHANG) } {
        0 => Reaped::NoneDead,
        pid if pid > 0 => Reaped::Child(pid as c_int, status),
        _ => Reaped::NoneLeft,
    }
}

/// The processor time in microseconds of all reaped children and of those that they have reaped, and the largest resident set of one of
/// them, in bytes (getrusage(2)). The latter is not known if it is no larger than that of the app was: the system counts the memory in
/// which the sidecar's process and this one began, the app's, for both.
pub(crate) fn used_by_children() -> Option<(u64, Option<u64>)> {
    const RUSAGE_SELF: c_int = 0;
    const RUSAGE_CHILDREN: c_int = -1;
    let [user, user_micros, system, system_micros, kib, ..] = usage(RUSAGE_CHILDREN)?;
    let [_, _, _, _, begin, ..] = usage(RUSAGE_SELF)?;
    let micros = (user + system) * 1_000_000 + user_micros + system_micros;
    Some((micros, (kib > begin).then_some(kib * 1024)))
}

/// `struct rusage` of Linux on systems of 64 bits: two times, the largest resident set in KiB, and 13 other numbers.
fn usage(who: c_int) -> Option<[u64; 18]> {
    let mut usage = [0_i64; 18];
    // SAFETY: the kernel writes at most 18 numbers.
    let result = unsafe { call3(call::GETRUSAGE, word(who), usage.as_mut_ptr().addr(), 0) };
    (result == 0).then(|| usage.map(|number| u64::try_from(number).unwrap_or(0)))
}

/// The time since the Unix epoch, in milliseconds.
pub(crate) fn now_millis() -> u64 {
    const CLOCK_REALTIME: usize = 0;
    clock(CLOCK_REALTIME).as_millis() as u64
}

/// The time of a clock that no one sets, to measure by.
pub(crate) fn now() -> Duration {
    const CLOCK_MONOTONIC: usize = 1;
    clock(CLOCK_MONOTONIC)
}

fn clock(clock: usize) -> Duration {
    let mut time = [0_i64; 2];
    // SAFETY: the kernel writes two numbers: seconds and nanoseconds.
    unsafe { call3(call::CLOCK_GETTIME, clock, time.as_mut_ptr().addr(), 0) };
    let [seconds, nanos] = time.map(|number| u64::try_from(number).unwrap_or(0));
    Duration::from_nanos(nanos) + Duration::from_secs(seconds)
}

/// Waits for this number of milliseconds, or until a signal arrives.
pub(crate) fn pause(millis: u32) {
    let time = [i64::from(millis / 1000), i64::from(millis % 1000) * 1_000_000];
    // SAFETY: the kernel reads the two numbers.
    unsafe { call3(call::NANOSLEEP, time.as_ptr().addr(), 0, 0) };
}

/// Lets the descriptor close when a program is executed.
fn set_close_on_exec(fd: c_int) {
    const F_SETFD: usize = 2;
    const FD_CLOEXEC: usize = 1;
    // SAFETY: touches no memory.
    unsafe { call3(call::FCNTL, word(fd), F_SETFD, FD_CLOEXEC) };
}
