//! Sandboxes for programs under test.

use std::process::Command;

/// Whether this machine lets us run this program with these arguments; containers often do not.
#[must_use]
#[expect(clippy::print_stderr, reason = "the output of a test says what was not tested")]
pub fn may(program: &[&str]) -> bool {
    let allowed =
        Command::new(program[0]).args(&program[1..]).output().is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("not tested: {program:?} is not allowed here");
    }
    allowed
}

/// A Python program that makes the system call of this number fail with `errno`, if the argument at this place (from 0) has this value
/// (seccomp(2), x86-64), and then becomes the program in its arguments. Descriptor 77 is open and inheritable.
#[must_use]
pub fn refusing(number: u32, argument: Option<(u32, u32)>, errno: u32) -> String {
    // Loads the number, compares, loads the low half of the argument, compares; refuses or allows.
    let compares = u8::from(argument.is_some());
    let (place, value) = argument.unwrap_or((0, 0));
    let offset = 16 + 8 * place;
    format!(
        "import ctypes, os, struct, sys\n\
         ins = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)\n\
         program = [ins(0x20, 0, 0, 0), ins(0x15, 0, 3, {number}), ins(0x20, 0, 0, {offset})]\n\
         program += [ins(0x15, 0, 1, {value})] if {compares} else [ins(0x15, 0, 0, 0)]\n\
         program += [ins(0x06, 0, 0, 0x00050000 | {errno}), ins(0x06, 0, 0, 0x7fff0000)]\n\
         code = ctypes.create_string_buffer(b''.join(program))\n\
         filter = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(program), ctypes.addressof(code)))\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         os.dup2(os.open('/dev/null', os.O_RDONLY), 77, inheritable=True)\n\
         assert libc.prctl(38, 1, 0, 0, 0) == 0\n\
         assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()\n\
         len(sys.argv) > 1 and os.execvp(sys.argv[1], sys.argv[1:])"
    )
}
