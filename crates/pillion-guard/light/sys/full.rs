//! Executes the full guard in this process, and ends the sidecar where the system refuses that.

use core::{ffi::c_int, ptr};

use super::{
    Process, Reaped, SIGKILL,
    call::{self, call3},
    kill, look, pause, reap, set_close_on_exec, set_mask, word,
};
use crate::{
    guard::argument,
    guard_state::{GuardState, RESUME, STATE_SIZE},
    text::Text,
};

const AT_EMPTY_PATH: usize = 0x1000;

/// Whether the system knows how to execute the program of a descriptor. To be asked before a sidecar depends on it: a filter of system
/// calls may not know execveat(2) (seccomp(2)).
pub(crate) fn can_execute(process: &Process) -> bool {
    const EINVAL: isize = -22;
    /// The kernel looks at the flags before anything else. A filter, or a kernel without the call, has another error.
    const UNKNOWN_FLAG: usize = 0x4000_0000;
    let arguments: [*const u8; 1] = [ptr::null()];
    execveat(-1, &arguments, process, AT_EMPTY_PATH | UNKNOWN_FLAG) == EINVAL
}

/// Becomes the full guard, in the same process: the children, the session and the death signals stay. Returns if the system cannot
/// execute it: there is no memory, for example.
pub(crate) fn execute_full(full: c_int, process: &Process, state: &GuardState) {
    let mut numbers = Text::<STATE_SIZE>::new();
    for (at, number) in state.numbers().into_iter().enumerate() {
        let separator: &[u8] = if at == 0 { b"" } else { b"," };
        numbers.text(separator);
        match number {
            Some(number) => numbers.number(number),
            None => numbers.text(b"-"),
        };
    }
    let (mut resume, mut path) = (Text::<16>::new(), Text::<32>::new());
    let resume = resume.text(RESUME).terminated();
    let path = path.text(b"/proc/self/fd/").number(full.unsigned_abs().into()).terminated();
    let (Some(numbers), Some(resume), Some(path)) = (numbers.terminated(), resume, path) else { return };
    set_close_on_exec(full);
    // std opens /dev/null for a standard stream that is closed, and aborts where there is none. Nothing is written to either; this memory
    // is sealed.
    for stream in [1, 2] {
        // SAFETY: touches no memory. The supervisor has closed the two.
        unsafe { call3(call::DUP2, word(full), stream, 0) };
    }
    set_mask(0);
    // SAFETY: the arguments of this process exist: `crate::guard` has read them.
    let [name, grace, stop] =
        [argument::NAME, argument::GRACE, argument::STOP].map(|at| unsafe { *process.arguments.add(at) });
    let arguments = [name, resume, numbers, grace, stop, ptr::null()];
    execveat(full, &arguments, process, AT_EMPTY_PATH);
    // SAFETY: the path ends with a zero; for the lists see `execveat`.
    unsafe { call3(call::EXECVE, path.addr(), arguments.as_ptr().addr(), process.environment.addr()) };
}

/// Executes the program of the descriptor. Returns a negative error number. `arguments` are strings that end with a zero, and a null
/// pointer as the last one.
fn execveat(program: c_int, arguments: &[*const u8], process: &Process, flags: usize) -> isize {
    let lists = [arguments.as_ptr().addr(), process.environment.addr()];
    // SAFETY: both lists hold strings that end with a zero, and end with a null pointer.
    unsafe { call::call(call::EXECVEAT, [word(program), c"".as_ptr().addr(), lists[0], lists[1], flags, 0]) }
}

/// Kills and reaps all children of this process, and those that it adopts by that. `leader` is the sidecar's first process, if that is
/// not reaped: the processes of its group are killed at once.
///
/// Gives up after about five seconds: a process in an uninterruptible sleep does not die, and without `/proc` only the group is known.
pub(crate) fn end_children(leader: Option<c_int>) {
    const ROUNDS: u32 = 5000;
    if let Some(leader) = leader {
        kill(-leader, SIGKILL);
    }
    let known = look::proc_is_ours();
    for _ in 0..ROUNDS {
        if known {
            look::for_each_child(|child| kill(child, SIGKILL));
        }
        loop {
            match reap() {
                Reaped::Child(..) => {}
                Reaped::NoneDead => break,
                Reaped::NoneLeft => return,
            }
        }
        pause(1);
    }
}
