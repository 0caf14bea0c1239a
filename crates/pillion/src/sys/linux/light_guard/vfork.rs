//! Starts a child that shares this process's memory until it executes a program, as `posix_spawn(3)` does: nothing is copied.

use std::{
    arch::asm,
    ffi::{c_int, c_long},
    mem::MaybeUninit,
    ptr,
};

use rustix::process::Pid;

/// The call that starts the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vfork {
    /// clone3(2), Linux 5.5. The child has no handler of a signal.
    Clone3,
    /// clone(2), where a sandbox refuses the other one. The child has the handlers of this process.
    Clone,
}

/// The memory of one child's stack. It needs less than a page.
#[repr(C, align(16))]
pub(super) struct Stack(MaybeUninit<[u8; Stack::SIZE]>);

impl Stack {
    const SIZE: usize = 16 * 1024;

    pub(super) fn new() -> Box<Self> {
        // Not filled: the pages of which nothing is used are not touched.
        let stack = Box::<Self>::new_uninit();
        // SAFETY: uninitialized bytes are a value of this type.
        unsafe { stack.assume_init() }
    }
}

impl Vfork {
    /// Starts a child that calls `run`, and waits until it has executed a program or ended (`CLONE_VFORK`, clone(2)). It shares our
    /// memory, and our table of descriptors only if that is asked for. Returns an error number if the system refuses.
    ///
    /// The calls themselves, and not clone(3): an emulation that does not know these flags refuses them, and could end at the other.
    ///
    /// # Safety
    /// Nothing else uses `stack` until the child has executed a program or ended, which may be later than the return if the calling process
    /// is killed meanwhile. `run` never returns, and works with the memory that is shared: all signals wait, it allocates nothing and
    /// takes no lock, because another thread may hold it.
    pub(super) unsafe fn start<T>(
        self,
        shares_descriptors: bool,
        stack: *mut Stack,
        run: extern "C" fn(*const T) -> !,
        argument: *const T,
    ) -> Result<Pid, c_int> {
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
        const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
        let files = if shares_descriptors { libc::CLONE_FILES } else { 0 };
        let flags = u64::from((libc::CLONE_VM | libc::CLONE_VFORK | files).unsigned_abs());
        let exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        let lowest = stack.expose_provenance() as u64;
        let arguments = Arguments {
            flags: flags | CLONE_CLEAR_SIGHAND,
            exit_signal,
            stack: lowest,
            stack_size: Stack::SIZE as u64,
            ..Arguments::default()
        };
        let (call, first, second) = match self {
            Self::Clone3 => (
                libc::SYS_clone3,
                (&raw const arguments).expose_provenance() as u64,
                size_of::<Arguments>() as u64,
            ),
            Self::Clone => (libc::SYS_clone, flags | exit_signal, lowest + Stack::SIZE as u64),
        };
        let result: c_long;
        // SAFETY: the child begins after the system call with the same registers and an empty stack of its own, aligned to 16 bytes, and
        // leaves this code for `run`, which never returns: it touches no frame of this stack. The parent goes on when the child no longer
        // uses the memory.
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
                inlateout("rax") call => result,
                in("rdi") first,
                in("rsi") second,
                in("rdx") 0,
                in("r10") 0,
                in("r8") 0,
                in("r12") argument,
                in("r13") run,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        match c_int::try_from(result) {
            Ok(number) if number > 0 => Pid::from_raw(number).ok_or(libc::EINVAL),
            Ok(error) => Err(-error),
            Err(_) => Err(libc::EINVAL),
        }
    }
}

/// While it exists, no signal interrupts this thread. A handler must not run in the child, which shares our memory.
pub(super) struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    pub(super) fn all() -> Self {
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
