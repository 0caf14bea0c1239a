//! Starts the sidecar, as std's `Command` in the full guard does, but without a copy of this process.

use core::{ffi::c_int, ptr};

use super::{
    Process, SIG_DFL, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGTERM,
    call::{self, call3},
    child_environment::{self, LOADER_PREFIX},
    close, receive, search_path, set_action, set_mask, word,
};

const ENOENT: c_int = 2;
/// The death of the guard before its child could ask for a signal at that moment.
const EPIPE: c_int = 32;

/// The sidecar's program.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) process: Process,
    /// Where it is among the arguments of this process; its own arguments follow.
    pub(crate) at: usize,
    pub(crate) name: &'static [u8],
}

/// What the child needs, in memory that it shares.
struct Launch {
    program: Program,
    guard: isize,
    stdin: c_int,
    listener: bool,
    /// Why the program could not be executed; set by the child. An emulation that copies the memory instead of sharing it loses it.
    error: c_int,
}

/// Starts the program in a process group of its own. Without `stdin`, it gets the read end of a pipe. Returns its process id, and the
/// write end of that pipe; or an error number.
///
/// Releases what belongs to the sidecar alone: its stdin, its listener, and its output, whose readers wait for the end.
pub(crate) fn start_sidecar(
    program: Program,
    listener: bool,
    stdin: Option<c_int>,
) -> Result<(c_int, Option<c_int>), c_int> {
    let (stdin, lifeline) = match stdin {
        Some(stdin) => (stdin, None),
        None => pipe().map(|[read, write]| (read, Some(write)))?,
    };
    let environment = program.process.environment;
    // SAFETY: touches no memory.
    let guard = unsafe { call3(call::GETPID, 0, 0, 0) };
    let mut launch = Launch { program, guard, stdin, listener, error: 0 };
    let stack = Stack::new()?;
    // SAFETY: the environment is writable, and no other code uses it meanwhile: this process has one thread, which waits for the child.
    // The stack is memory of its own, and `become_sidecar` never returns.
    let pid = unsafe {
        child_environment::restore_loader_variables(environment);
        let pid = call::vfork(stack.end(), become_sidecar, &raw mut launch);
        hide_loader_variables(&program.process);
        pid
    };
    drop(stack);
    close(stdin);
    if listener {
        close(receive::LISTENER);
    }
    // The full guard puts /dev/null there. Nothing is written to either.
    close(1);
    close(2);
    // SAFETY: the child has written there before it ended.
    let error = unsafe { (&raw const launch.error).read_volatile() };
    match c_int::try_from(pid) {
        Ok(pid) if pid > 0 && error == 0 => Ok((pid, lifeline)),
        Ok(pid) if pid > 0 => Err(error),
        failed => Err(failed.map_or(ENOENT, |failed| -failed)),
    }
}

/// The child's stack, until the child has executed its program. On ours, it would be memory that the guard needs only once.
struct Stack(*mut u8);

impl Stack {
    /// The child needs less than a page; a path of 4 KiB and the frames of system calls fit as well.
    const SIZE: usize = 16 * 1024;

    fn new() -> Result<Self, c_int> {
        const PROT_READ_WRITE: usize = 1 | 2;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x2 | 0x20;
        let arguments = [0, Self::SIZE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, word(-1), 0];
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe { call::call(call::MMAP, arguments) };
        if (-4095..0).contains(&start) {
            return Err(c_int::try_from(-start).unwrap_or(ENOENT));
        }
        Ok(Self(ptr::with_exposed_provenance_mut(start.cast_unsigned())))
    }

    fn end(&self) -> *mut u8 {
        self.0.wrapping_add(Self::SIZE)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is that of `new`, and the child no longer uses it.
        unsafe { call3(call::MUNMAP, self.0.addr(), Self::SIZE, 0) };
    }
}

fn pipe() -> Result<[c_int; 2], c_int> {
    const O_CLOEXEC: usize = 0o2_000_000;
    let mut ends = [-1; 2];
    // SAFETY: the kernel writes the two descriptors.
    let result = unsafe { call3(call::PIPE2, ends.as_mut_ptr().addr(), O_CLOEXEC, 0) };
    if result == 0 { Ok(ends) } else { Err(c_int::try_from(-result).unwrap_or(ENOENT)) }
}

/// Runs in the sidecar's process, which shares our memory until it executes the program.
extern "C" fn become_sidecar(launch: *mut Launch) -> ! {
    // SAFETY: the parent waits, and its `launch` lives as long.
    let launch = unsafe { &mut *launch };
    let error = try_become_sidecar(launch);
    // SAFETY: as above. The parent reads it after the end of this process.
    unsafe { (&raw mut launch.error).write_volatile(error) };
    call::exit(127)
}

/// Returns an error number if the program cannot be executed.
fn try_become_sidecar(launch: &Launch) -> c_int {
    const PR_SET_PDEATHSIG: usize = 1;
    let Process { environment, .. } = launch.program.process;
    // SAFETY: these calls touch no memory. Signals are set for this process alone: it shares memory, and not the table of handlers.
    unsafe {
        call3(call::SETPGID, 0, 0, 0);
        for changed in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGPIPE] {
            set_action(changed, SIG_DFL);
        }
        set_mask(0);
        call3(call::PRCTL, PR_SET_PDEATHSIG, word(SIGKILL), 0);
        // The guard may have died before the death signal was set.
        if call3(call::GETPPID, 0, 0, 0) != launch.guard {
            return EPIPE;
        }
        // dup2(2) clears close-on-exec. Descriptor 0 was the supervisor's socket, so that the two differ.
        let result = call3(call::DUP2, word(launch.stdin), 0, 0);
        if result < 0 {
            return c_int::try_from(-result).unwrap_or(ENOENT);
        }
    }
    // SAFETY: touches no memory.
    let own = c_int::try_from(unsafe { call3(call::GETPID, 0, 0, 0) }).unwrap_or(0);
    // SAFETY: the environment is writable, and the parent, which shares it, waits.
    unsafe {
        if launch.listener {
            child_environment::name_process(environment, b"LISTEN_PID=", own);
        }
        child_environment::name_process(environment, b"WATCHDOG_PID=", own);
    }
    execute(&launch.program)
}

/// Executes the program: the path itself, or else the file in a folder of `PATH`.
fn execute(program: &Program) -> c_int {
    let name = program.name;
    let Process { arguments, environment } = program.process;
    // SAFETY: the list is at least as long: `crate::guard` has read the argument.
    let arguments = unsafe { arguments.add(program.at) };
    let execute = |file: *const u8| {
        // SAFETY: the path ends with a zero, and both lists with a null pointer.
        let result = unsafe { call3(call::EXECVE, file.addr(), arguments.addr(), environment.addr()) };
        c_int::try_from(-result).unwrap_or(ENOENT)
    };
    if name.contains(&b'/') {
        // SAFETY: as above. The first argument is the path.
        return execute(unsafe { *arguments });
    }
    // SAFETY: the environment is a list as `values` asks for, and nothing changes it meanwhile.
    let path = unsafe { child_environment::values(environment, b"PATH=").next() };
    // Without `PATH`, as the full guard.
    let path: &[u8] = path.map_or(b"/usr/local/bin:/usr/bin:/bin", |path| path);
    search_path::first_executable(path, name, execute)
}

/// Takes back what `restore_loader_variables` did, so that the variables do not change the full guard either.
///
/// # Safety
/// As for [`child_environment::values`].
unsafe fn hide_loader_variables(process: &Process) {
    let mut place = process.environment.cast_mut();
    // SAFETY: the environment is a writable list of strings that ends with a null pointer (environ(7)). Strings lie one behind the other,
    // behind those of the arguments, so that bytes before each exist. Only a string that was moved has the prefix before it: before
    // any other one there is the zero of its predecessor.
    unsafe {
        while !(*place).is_null() {
            let start = (*place).cast::<u8>().sub(LOADER_PREFIX.len());
            let mut prefix = LOADER_PREFIX.iter().enumerate();
            if prefix.all(|(at, byte)| *start.add(at) == *byte) {
                *place = start.cast();
            }
            place = place.add(1);
        }
    }
}
