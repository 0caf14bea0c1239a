//! Sandboxes for programs under test.

use std::{path::Path, process::Command};

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
    filtering(number, argument, 0x0005_0000 | errno)
}

/// As [`refusing`], but the system call ends its process, by SIGSYS and without a core file.
#[must_use]
pub fn killing(number: u32) -> String {
    let filter = filtering(number, None, 0x8000_0000);
    format!("import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n{filter}")
}

/// The program with this action of the filter (`SECCOMP_RET_…`).
fn filtering(number: u32, argument: Option<(u32, u32)>, action: u32) -> String {
    // Loads the number, compares, loads the low half of the argument, compares; refuses or allows.
    let compares = u8::from(argument.is_some());
    let (place, value) = argument.unwrap_or((0, 0));
    let offset = 16 + 8 * place;
    format!(
        "import ctypes, os, struct, sys\n\
         ins = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)\n\
         program = [ins(0x20, 0, 0, 0), ins(0x15, 0, 3, {number}), ins(0x20, 0, 0, {offset})]\n\
         program += [ins(0x15, 0, 1, {value})] if {compares} else [ins(0x15, 0, 0, 0)]\n\
         program += [ins(0x06, 0, 0, {action}), ins(0x06, 0, 0, 0x7fff0000)]\n\
         code = ctypes.create_string_buffer(b''.join(program))\n\
         filter = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(program), ctypes.addressof(code)))\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         os.dup2(os.open('/dev/null', os.O_RDONLY), 77, inheritable=True)\n\
         assert libc.prctl(38, 1, 0, 0, 0) == 0\n\
         assert libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()\n\
         len(sys.argv) > 1 and os.execvp(sys.argv[1], sys.argv[1:])"
    )
}

/// The command that starts a program in a sandbox like that of Flatpak, by bubblewrap; the program and its arguments follow. Namespaces of
/// their own for process ids, users and IPC; system folders without the right to write; an empty `/tmp` and runtime directory; and on x86-64
/// the system calls that Flatpak refuses (`setup_seccomp` in its `common/flatpak-run.c`). `programs` stays visible. The network is shared,
/// as with `--share=network`.
#[must_use]
pub fn flatpak(programs: &Path) -> Vec<String> {
    const BUBBLEWRAP: &str = "bwrap --unshare-user --unshare-pid --unshare-ipc --unshare-uts --new-session --ro-bind / / --proc /proc \
        --dev /dev --tmpfs /tmp --tmpfs /run --dir /run/user/app --setenv XDG_RUNTIME_DIR /run/user/app";
    let script = format!(
        "import os, struct, sys\n\
         EPERM, ENOSYS = 1, 38\n\
         ins = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)\n\
         refuse = lambda call, errno: ins(0x15, 0, 1, call) + ins(0x06, 0, 0, 0x00050000 | errno)\n\
         program = ins(0x20, 0, 0, 0)\n\
         for call in {REFUSED:?}: program += refuse(call, EPERM)\n\
         for call in {UNKNOWN:?}: program += refuse(call, ENOSYS)\n\
         program += ins(0x06, 0, 0, 0x7fff0000)\n\
         arguments = sys.argv[1:]\n\
         if {filtered}:\n\
         \x20   end, begin = os.pipe()\n\
         \x20   os.write(begin, program)\n\
         \x20   os.close(begin)\n\
         \x20   os.set_inheritable(end, True)\n\
         \x20   arguments[1:1] = ['--seccomp', str(end)]\n\
         os.execvp(arguments[0], arguments)",
        filtered = if cfg!(target_arch = "x86_64") { "True" } else { "False" },
    );
    let programs = programs.to_string_lossy();
    let bind = ["--ro-bind", &programs, &programs];
    let words = BUBBLEWRAP.split_ascii_whitespace().chain(bind);
    ["python3", "-c", &script].into_iter().chain(words).map(str::to_owned).collect()
}

// syslog, acct, quotactl, add_key, request_key, keyctl, move_pages, mbind, get_mempolicy, set_mempolicy, migrate_pages, unshare, setns, mount,
// umount2, pivot_root, chroot, perf_event_open, ptrace: on x86-64.
const REFUSED: [u32; 19] =
    [103, 163, 179, 248, 249, 250, 279, 237, 239, 238, 256, 272, 308, 165, 166, 155, 161, 298, 101];
// clone3, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, mount_setattr: callers go on without them.
const UNKNOWN: [u32; 8] = [435, 428, 429, 430, 431, 432, 433, 442];
