//! This process's environment, changed in place: where every program of the user reads it for as long as the process lives,
//! whatever it has unset since (`proc_pid_environ(5)`, and `KERN_PROCARGS2` on macOS).

use std::{ffi::c_char, slice};

/// The values of the variables whose entries start with `name`, which ends with `=`.
///
/// # Safety
/// `environ` must be this process's own, in memory that may be written to, and nobody else may use it while the values are
/// there. Async-signal-safe.
pub(super) unsafe fn values<'a>(
    environ: *const *const c_char,
    name: &[u8],
) -> impl Iterator<Item = &'a mut [u8]> {
    // SAFETY: the environment is a list of strings that ends with a null pointer (environ(7)).
    let entries = (0..).map(move |at| unsafe { *environ.add(at) }).take_while(|entry| !entry.is_null());
    entries.filter_map(move |entry| {
        let text = entry.cast_mut().cast::<u8>();
        // SAFETY: each string ends with a zero, at which the comparison ends, too.
        let named = name.iter().enumerate().all(|(at, byte)| unsafe { *text.add(at) } == *byte);
        // SAFETY: behind the name, which is there, bytes are counted up to that zero; each entry is its own memory.
        named.then(|| unsafe {
            let value = text.add(name.len());
            let length = (0..).take_while(|at| *value.add(*at) != 0).count();
            slice::from_raw_parts_mut(value, length)
        })
    })
}

/// Overwrites the token, which is the sidecar's and nobody else's. Its nonce stays, as the mark by which it is found.
///
/// # Safety
/// As for [`values`].
pub(super) unsafe fn forget_token(environ: *const *const c_char) {
    // SAFETY: the caller's.
    for value in unsafe { values(environ, b"PILLION_TOKEN=") } {
        value.fill(b'-');
    }
}
