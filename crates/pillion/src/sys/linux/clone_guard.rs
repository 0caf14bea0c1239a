//! Starts the light guard as `posix_spawn(3)` does, with less work for the kernel.
//!
//! `posix_spawn(3)` copies the table of descriptors, and execve(2) closes each copy: an app with a thousand sidecars has thousands. It also sets
//! each signal in turn. Here, the child shares the table until it copies the beginning of it (`CLOSE_RANGE_UNSHARE`, `close_range(2)`), and
//! leaves the signals to the guard, which sets all that matter first of all.

use std::{
    arch::asm,
    ffi::{CStr, CString, OsStr, c_char, c_int, c_long, c_uint},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    process::Command,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{Pid, WaitOptions, waitpid};

/// So many descriptors are copied in no time.
const FEW: c_int = 64;
/// Where those begin that stay open for as long as a sidecar lives, if there are more than a few: the numbers below are free then for those
/// that a guard gets.
const ASIDE: c_int = 512;

/// The child's stack. It needs less than a page.
const STACK_SIZE: usize = 16 * 1024;

/// Gives a descriptor that stays open for long another number, if there are many, so that a guard is not started with many.
pub(in crate::sys) fn set_aside(fd: OwnedFd) -> OwnedFd {
    if !(FEW..ASIDE).contains(&fd.as_raw_fd()) {
        return fd;
    }
    // The limit of this process may be lower (getrlimit(2)).
    rustix::io::fcntl_dupfd_cloexec(&fd, ASIDE).unwrap_or(fd)
}

/// Starts this program with these arguments, which follow `name`, this environment, and in this directory, all of them set in `command`. `file`
/// is the descriptor that the path of the program names. All signals wait in the new process.
///
/// `None` if the system cannot do that, or not so: std can. Blocks until the program is executed.
pub(in crate::sys) fn clone_guard(
    command: &Command,
    name: &CStr,
    file: BorrowedFd<'_>,
    streams: [BorrowedFd<'_>; 3],
) -> Option<io::Result<Pid>> {
    /// Whether the system refuses to copy a part of the table.
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let program = text(command.get_program())?;
    let arguments = command.get_args().map(text).collect::<Option<Vec<_>>>()?;
    let environment: Option<Vec<_>> =
        command.get_envs().filter_map(|(name, value)| Some(entry(name, value?))).collect();
    let environment = environment?;
    let directory = match command.get_current_dir() {
        Some(directory) => Some(text(directory.as_os_str())?),
        None => None,
    };
    let arguments = list([name].into_iter().chain(arguments.iter().map(CString::as_c_str)));
    let environment = list(environment.iter().map(CString::as_c_str));
    let streams = streams.map(|stream| stream.as_raw_fd());
    // They would be replaced before they are used.
    if streams.iter().any(|stream| *stream <= libc::STDERR_FILENO) {
        return None;
    }
    let highest = streams.into_iter().fold(file.as_raw_fd(), c_int::max);
    let shares = highest >= FEW;
    if shares && REFUSED.load(Ordering::Relaxed) {
        return None;
    }
    let mut launch = Launch {
        program: program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        directory: directory.as_deref().map_or(ptr::null(), CStr::as_ptr),
        streams,
        unneeded: shares.then_some(highest.unsigned_abs() + 1),
        refused: false,
        error: 0,
    };
    let child = {
        let _blocked = BlockedSignals::all();
        // SAFETY: what the pointers of `launch` point to lives until the end of this function, and the child uses it only within this call.
        unsafe { clone(&raw mut launch) }?
    };
    if launch.error == 0 {
        return Some(Ok(child));
    }
    let _ = waitpid(Some(child), WaitOptions::empty());
    if launch.refused {
        REFUSED.store(true, Ordering::Relaxed);
        return None;
    }
    Some(Err(io::Error::from_raw_os_error(launch.error)))
}

/// What the child needs, in memory that it shares.
struct Launch {
    program: *const c_char,
    /// Two lists that end with a null pointer.
    arguments: *const *const c_char,
    environment: *const *const c_char,
    /// Null: that of this process.
    directory: *const c_char,
    streams: [c_int; 3],
    /// The first descriptor that the child does not need, if it shares the table.
    unneeded: Option<c_uint>,
    /// Set by the child: it could not copy a part of the table.
    refused: bool,
    /// Set by the child: why it could not execute the program.
    error: c_int,
}

/// `None` if it contains a zero.
fn text(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

/// `NAME=value`.
fn entry(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}

fn list<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    texts.map(CStr::as_ptr).chain([ptr::null()]).collect()
}

/// While it exists, no signal interrupts this thread. A handler must not run in the child, which shares our memory.
struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    fn all() -> Self {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: the calls initialize both sets, and cannot fail with these arguments.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is that of before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Starts the child and waits until it has executed its program, or ended. `None` if the system has no clone3(2), or refuses it.
///
/// The call itself, and not clone(3): an emulation that does not know these flags refuses this call, and could end at the other.
///
/// # Safety
/// The pointers in `launch` are valid, as [`Launch`] says, and no handler of a signal runs meanwhile.
unsafe fn clone(launch: *mut Launch) -> Option<Pid> {
    /// `struct clone_args` in its first form (clone(2)).
    #[repr(C)]
    #[derive(Default)]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    // SAFETY: a read of the caller's structure.
    let shares = unsafe { (*launch).unneeded.is_some() };
    let files = if shares { libc::CLONE_FILES } else { 0 };
    let mut stack = Box::<[Aligned]>::new_uninit_slice(STACK_SIZE / size_of::<Aligned>());
    let arguments = Arguments {
        flags: u64::from((libc::CLONE_VM | libc::CLONE_VFORK | files).unsigned_abs()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: stack.as_mut_ptr().expose_provenance() as u64,
        stack_size: STACK_SIZE as u64,
        ..Arguments::default()
    };
    let result: c_long;
    // SAFETY: the child begins after the system call with the same registers and an empty stack of its own, aligned to 16 bytes, and leaves
    // this code for `become_guard`, which never returns: it touches no frame of this stack. The parent goes on when the child no longer uses
    // the memory.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<Arguments>(),
            in("r12") launch,
            in("r13") become_guard as extern "C" fn(*mut Launch) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    drop(stack);
    let child = c_int::try_from(result).ok().filter(|child| *child > 0)?;
    Pid::from_raw(child)
}

/// A part of the stack, aligned as the calls of functions need it.
#[repr(C, align(16))]
struct Aligned([u8; 16]);

/// Runs in the child. It allocates nothing and takes no lock: another thread may hold it.
extern "C" fn become_guard(launch: *mut Launch) -> ! {
    // SAFETY: the parent waits. All calls are async-signal-safe (signal-safety(7)); they set the parent's `errno` at most. The table of
    // descriptors is the child's own before one of them changes it, and so are the handlers of signals.
    unsafe {
        try_become_guard(&mut *launch);
        (*launch).error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// Returns if a call has failed.
///
/// # Safety
/// As in [`become_guard`].
unsafe fn try_become_guard(launch: &mut Launch) {
    // SAFETY: the caller upholds the conditions.
    unsafe {
        if let Some(unneeded) = launch.unneeded
            && libc::syscall(libc::SYS_close_range, unneeded, c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) != 0
        {
            launch.refused = true;
            return;
        }
        // std ignores it, and would pass that on.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for (stream, standard) in launch.streams.into_iter().zip(0..) {
            if libc::dup2(stream, standard) < 0 {
                return;
            }
        }
        if !launch.directory.is_null() && libc::chdir(launch.directory) != 0 {
            return;
        }
        libc::execve(launch.program, launch.arguments, launch.environment);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::AsFd};

    use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};

    use super::*;

    /// Runs a program in `/usr`. Returns what it writes.
    fn run(program: &str, arguments: &[&str], move_fd: impl Fn(OwnedFd) -> OwnedFd) -> String {
        let (mut output, writer) = io::pipe().unwrap();
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let streams = [null, writer.try_clone().unwrap().into(), writer.into()].map(move_fd);
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("A", "1=2").current_dir("/usr");
        let file = streams[0].as_fd();
        let child = clone_guard(&command, c"name", file, streams.each_ref().map(AsFd::as_fd));
        drop(streams);
        let child = child.expect("this system can do it").unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        waitpid(Some(child), WaitOptions::empty()).unwrap();
        text
    }

    /// An inheritable descriptor that many are below.
    fn far() -> OwnedFd {
        let far = fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), 700).unwrap();
        fcntl_setfd(&far, FdFlags::empty()).unwrap();
        far
    }

    #[test]
    fn the_program_gets_its_arguments_environment_directory_and_streams() {
        let script = "echo $0 $A; pwd; readlink /proc/self/fd/0; echo error >&2";
        let above = |fd: OwnedFd| fcntl_dupfd_cloexec(fd, FEW).unwrap();
        for text in [run("/bin/sh", &["-c", script], |fd| fd), run("/bin/sh", &["-c", script], above)] {
            assert_eq!(text, "name 1=2\n/usr\n/dev/null\nerror\n");
        }
    }

    #[test]
    fn a_part_of_many_descriptors_is_copied() {
        let far = far();
        let script = format!("test -e /proc/self/fd/{} && echo copied || echo left", far.as_raw_fd());
        assert_eq!(run("/bin/sh", &["-c", &script], |fd| fcntl_dupfd_cloexec(fd, FEW).unwrap()), "left\n");
        assert!(fcntl_getfd(&far).is_ok(), "ours is open");
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_an_error_and_leaves_no_process() {
        let null = File::open("/dev/null").unwrap();
        let file = fcntl_dupfd_cloexec(&null, 3).unwrap();
        for (program, directory, error) in
            [("/bin/sh", "/none", libc::ENOENT), ("/none", "/", libc::ENOENT), ("/", "/", libc::EACCES)]
        {
            let mut command = Command::new(program);
            command.env_clear().current_dir(directory);
            let failed =
                clone_guard(&command, c"name", file.as_fd(), [file.as_fd(); 3]).unwrap().unwrap_err();
            assert_eq!(failed.raw_os_error(), Some(error), "{program} in {directory}");
        }
        let mut command = Command::new("/bin/sh");
        command.env_clear().env("A", "zero\0");
        assert!(clone_guard(&command, c"name", file.as_fd(), [file.as_fd(); 3]).is_none());
    }

    #[test]
    fn the_signals_of_this_thread_are_as_before() {
        let blocked = || {
            std::fs::read_to_string("/proc/thread-self/status")
                .unwrap()
                .lines()
                .find(|line| line.starts_with("SigBlk"))
                .map(str::to_owned)
        };
        let before = blocked();
        let child = run("/bin/grep", &["SigBlk", "/proc/self/status"], |fd| fd);
        assert_ne!(Some(child.trim_end()), before.as_deref(), "they wait in the child");
        assert_eq!(blocked(), before);
    }

    #[test]
    fn descriptors_that_stay_open_are_set_aside_if_there_are_many() {
        let open = |from| fcntl_dupfd_cloexec(File::open("/dev/null").unwrap(), from).unwrap();
        let many = open(FEW);
        let number = many.as_raw_fd();
        assert!(set_aside(many).as_raw_fd() >= ASIDE && number < ASIDE);
        let far = open(ASIDE);
        let number = far.as_raw_fd();
        assert_eq!(set_aside(far).as_raw_fd(), number);
    }
}
