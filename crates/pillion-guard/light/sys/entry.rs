//! Where the kernel starts this program.

use core::{arch::global_asm, panic::PanicInfo};

use super::{Process, exit};

// The kernel puts the arguments at the stack pointer, and clears the frame pointer (System V ABI, AMD64 supplement). A call needs a stack that is
// aligned to 16 bytes.
global_asm!(
    ".hidden __ehdr_start",
    ".hidden _DYNAMIC",
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "lea rsi, [rip + __ehdr_start]",
    "lea rdx, [rip + _DYNAMIC]",
    "and rsp, -16",
    "call {start}",
    "ud2",
    start = sym start,
);

extern "C" fn start(stack: *const usize, image: *mut u8, dynamic: *const [usize; 2]) -> ! {
    // SAFETY: these are the addresses of this program's image and of its dynamic section; nothing was called before.
    unsafe { relocate(image, dynamic) };
    // SAFETY: this is the stack pointer of the start.
    crate::guard::run(unsafe { Process::at(stack) })
}

/// Adds the address of the image to each address in it, as a loader would: the compiler's calls of `memcpy` and the like go through such
/// addresses. Until then, no function may be called.
///
/// # Safety
/// `image` is where this program is in memory, and `dynamic` its list of tags and values, which ends with the tag 0 (elf(5)).
#[inline(always)]
unsafe fn relocate(image: *mut u8, dynamic: *const [usize; 2]) {
    const DT_RELA: usize = 7;
    const DT_RELASZ: usize = 8;
    const R_X86_64_RELATIVE: usize = 8;
    let (mut table, mut size, mut at) = (0, 0, 0);
    // SAFETY: the linker has written the table: each entry has an offset in the image, a type, and the address that belongs there.
    unsafe {
        loop {
            match dynamic.add(at).read_volatile() {
                [0, _] => break,
                [DT_RELA, value] => table = value,
                [DT_RELASZ, value] => size = value,
                _ => {}
            }
            at += 1;
        }
        let entries = image.add(table).cast::<[usize; 3]>();
        for at in 0..size / size_of::<[usize; 3]>() {
            let [offset, kind, address] = entries.add(at).read_volatile();
            if kind & 0xffff_ffff == R_X86_64_RELATIVE {
                image.add(offset).cast::<usize>().write_volatile(image.addr() + address);
            }
        }
    }
}

/// The code has no panic that can be reached. The end of the guard would kill the sidecar, and the supervisor would clean up.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    exit(101)
}
