//! The environment that the guard passes on to the sidecar, changed in place. Every program of the user can read it there for
//! as long as the process lives, even after `unsetenv` (`proc_pid_environ(5)`; `KERN_PROCARGS2` on macOS).

use core::{
    ffi::{c_char, c_int},
    slice,
};

use super::super::decimal::for_each_digit;

/// The environment of this process. Async-signal-safe.
#[cfg(target_os = "linux")]
pub(super) fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library has set the variable before `main`, and this process has one thread.
    unsafe { environ }
}

/// The environment of this process. Async-signal-safe.
#[cfg(not(target_os = "linux"))]
pub(super) fn environment() -> *const *const c_char {
    unsafe extern "C" {
        // Libraries of macOS cannot refer to `environ` (environ(7)), and Tauri's templates make one of the app.
        fn _NSGetEnviron() -> *const *const *const c_char;
    }
    // SAFETY: the function has no preconditions, and returns where the variable is.
    unsafe { *_NSGetEnviron() }
}

/// The length of the zeros that the supervisor writes instead of a process id: more than the digits of any.
const PID_SPACE: usize = 20;

/// The supervisor's prefix of variables for the dynamic linker.
const LOADER_PREFIX: &[u8] = b"PILLION_GUARD_";

/// The values of the variables whose entries start with `name`. `name` ends with `=`.
///
/// # Safety
/// `environ` must be this process's own, in writable memory, and no other code may use it while the values exist.
/// Async-signal-safe.
unsafe fn values<'a>(environ: *const *const c_char, name: &[u8]) -> impl Iterator<Item = &'a mut [u8]> {
    // SAFETY: the environment is a list of strings that ends with a null pointer (environ(7)).
    let entries = (0..).map(move |at| unsafe { *environ.add(at) }).take_while(|entry| !entry.is_null());
    entries.filter_map(move |entry| {
        let text = entry.cast_mut().cast::<u8>();
        // SAFETY: each string ends with a zero, where the comparison stops.
        let named = name.iter().enumerate().all(|(at, byte)| unsafe { *text.add(at) } == *byte);
        // SAFETY: the entry starts with the name, so the value starts behind it and ends before the zero. Entries do not
        // overlap.
        named.then(|| unsafe {
            let value = text.add(name.len());
            let length = (0..).take_while(|at| *value.add(*at) != 0).count();
            slice::from_raw_parts_mut(value, length)
        })
    })
}

/// Overwrites the token, which only the sidecar may hold. The instance stays: it is the process marker.
///
/// # Safety
/// As for [`values`].
pub(super) unsafe fn erase_token(environ: *const *const c_char) {
    // SAFETY: the caller upholds the same conditions.
    for value in unsafe { values(environ, b"PILLION_TOKEN=") } {
        value.fill(b'-');
    }
}

/// Gives variables for the dynamic linker their names back. The supervisor prefixed them, so that they do not change the guard
/// itself.
///
/// # Safety
/// As for [`values`].
pub(super) unsafe fn restore_loader_variables(environ: *const *const c_char) {
    let mut at = 0;
    loop {
        // SAFETY: the environment is a writable list of strings that ends with a null pointer (environ(7)).
        let entry = unsafe { environ.cast_mut().add(at) };
        // SAFETY: as above.
        let text = unsafe { *entry };
        if text.is_null() {
            return;
        }
        // SAFETY: each string ends with a zero, where the comparison stops.
        if LOADER_PREFIX.iter().enumerate().all(|(at, byte)| unsafe { *text.cast::<u8>().add(at) } == *byte) {
            // SAFETY: the string is at least as long as the prefix.
            unsafe { *entry = text.add(LOADER_PREFIX.len()) };
        }
        at += 1;
    }
}

/// Writes the process id into the variable `name`, which ends with `=`, where the supervisor reserved space for it. The variable tells
/// a program that the listener (`sd_listen_fds(3)`) or the watchdog (`sd_watchdog_enabled(3)`) is meant for this process and not for
/// another one.
///
/// # Safety
/// As for [`values`]. Async-signal-safe.
pub(super) unsafe fn name_process(environ: *const *const c_char, name: &[u8], pid: c_int) {
    // SAFETY: the caller upholds the same conditions.
    for value in unsafe { values(environ, name) } {
        // Any other value is the developer's own.
        if value.len() == PID_SPACE && value.iter().all(|digit| *digit == b'0') {
            // Ends the number with a zero byte instead of padding it: sd_listen_fds(3) reads a leading `0` as octal.
            let mut places = value.iter_mut();
            let mut put = |byte| places.next().into_iter().for_each(|place| *place = byte);
            for_each_digit(pid.unsigned_abs().into(), &mut put);
            put(0);
        }
    }
}
