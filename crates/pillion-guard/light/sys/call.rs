//! Linux's system calls on x86-64 (syscall(2)), and the functions that a compiler expects from a C library.

use core::{arch::asm, ffi::c_int};

pub(super) const READ: usize = 0;
pub(super) const OPEN: usize = 2;
pub(super) const CLOSE: usize = 3;
pub(super) const RT_SIGPROCMASK: usize = 14;
pub(super) const SCHED_YIELD: usize = 24;
pub(super) const DUP2: usize = 33;
pub(super) const NANOSLEEP: usize = 35;
pub(super) const GETPID: usize = 39;
pub(super) const SENDTO: usize = 44;
pub(super) const RECVFROM: usize = 45;
pub(super) const EXECVE: usize = 59;
pub(super) const EXIT: usize = 60;
pub(super) const WAIT4: usize = 61;
pub(super) const KILL: usize = 62;
pub(super) const FCNTL: usize = 72;
pub(super) const READLINK: usize = 89;
pub(super) const GETRUSAGE: usize = 98;
pub(super) const GETPPID: usize = 110;
pub(super) const PRCTL: usize = 157;
pub(super) const GETDENTS64: usize = 217;
pub(super) const CLOCK_GETTIME: usize = 228;
pub(super) const PPOLL: usize = 271;
pub(super) const SIGNALFD4: usize = 289;
pub(super) const EXECVEAT: usize = 322;
pub(super) const PIDFD_OPEN: usize = 434;

/// Makes a system call. A result between -4095 and -1 is a negative error number.
///
/// # Safety
/// As for the call: memory that it is given pointers to must be valid for what it does there.
pub(super) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the registers are those of the kernel's convention, and the two that it overwrites are named (syscall(2)). The caller
    // vouches for the memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes a system call of up to three arguments.
///
/// # Safety
/// As for [`call`].
pub(super) unsafe fn call3(number: usize, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: the caller upholds the same conditions.
    unsafe { call(number, [a, b, c, 0, 0, 0]) }
}

/// Ends this process.
pub(crate) fn exit(code: c_int) -> ! {
    loop {
        // SAFETY: touches no memory.
        unsafe { call3(EXIT, code.cast_unsigned() as usize, 0, 0) };
    }
}

/// Without a C library, the compiler's calls for blocks of memory end here. They contain no loop that the compiler would recognise, and turn
/// into a call of themselves.
#[cfg(pillion_light)]
mod memory {
    use core::{arch::asm, ffi::c_int};

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller's pointers are valid for `count` bytes, as in C.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: c_int, count: usize) -> *mut u8 {
        // SAFETY: the caller's pointer is valid for `count` bytes, as in C.
        unsafe {
            asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _, in("eax") value, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        let mut at = 0;
        while at < count {
            // SAFETY: the caller's pointers are valid for `count` bytes, as in C.
            let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
            if one != other {
                return c_int::from(one) - c_int::from(other);
            }
            at += 1;
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
        // SAFETY: the caller upholds the same conditions.
        unsafe { memcmp(one, other, count) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const u8) -> usize {
        let mut length = 0;
        // SAFETY: the caller's text ends with a zero, as in C.
        while unsafe { text.add(length).read_volatile() } != 0 {
            length += 1;
        }
        length
    }
}
