//! Reads the variables of the host once, and removes the token and the listener from the environment.

use std::{
    env, io,
    sync::{Mutex, OnceLock, PoisonError},
};

use pillion_protocol::{
    HostEnvironment,
    environment::{EnvironmentError, PIPE, PORT, TOKEN},
};

use crate::inherited_listener::{self, InheritedListener};

/// The listener that the first call of [`take`] found, until [`listener`] returns it.
static LISTENER: Mutex<Option<io::Result<InheritedListener>>> = Mutex::new(None);

/// The values from the host. The first call removes the token from the environment, so that child processes do not inherit
/// it. Later calls return the same values, so that a second server of this process demands the token too.
pub(crate) fn take() -> Result<HostEnvironment, EnvironmentError> {
    static ENVIRONMENT: OnceLock<Result<HostEnvironment, EnvironmentError>> = OnceLock::new();
    ENVIRONMENT
        .get_or_init(|| {
            // A listener of the host makes `PORT` irrelevant, even an invalid one (docs/protocol.md, rule 1).
            let has_listener = inherited_listener::is_offered();
            let counts = |name: &str| !(has_listener && name == PORT);
            let environment = HostEnvironment::read(|name| env::var_os(name).filter(|_| counts(name)));
            *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = inherited_listener::take().transpose();
            if [TOKEN, PIPE, inherited_listener::NAMES].iter().any(|name| env::var_os(name).is_some()) {
                remove_variables();
            }
            environment
        })
        .clone()
}

/// The inherited listener, for the first caller after [`take`], or the reason why it is unusable.
pub(crate) fn listener() -> io::Result<Option<InheritedListener>> {
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take().transpose()
}

#[expect(unsafe_code, reason = "no safe function unsets a variable")]
fn remove_variables() {
    #[cfg(unix)]
    overwrite_token();
    // SAFETY: std requires that no other thread uses the environment outside std's own lock during this call
    // (https://doc.rust-lang.org/std/env/fn.remove_var.html). No library can guarantee that for a whole program, so
    // `Sidecar::new` documents that it has to be the first call in `main`. If a program calls it later, the harm stays small:
    // `unsetenv` of glibc, musl and macOS allocates nothing and frees none of the initial strings. It moves pointers down by
    // one place, so a parallel `getenv` reads a string that still exists. On Windows the system locks the environment.
    unsafe {
        env::remove_var(TOKEN);
        env::remove_var(PIPE);
        env::remove_var(inherited_listener::NAMES);
    }
}

/// Overwrites the digits of the token where the environment has them. `unsetenv` only removes the pointer to them, and other programs of
/// the user can read the memory that is left: on macOS with `ps -E` (`KERN_PROCARGS2`), on Linux in `/proc/PID/environ`.
#[cfg(unix)]
#[expect(unsafe_code, reason = "no safe function overwrites a variable in its place")]
fn overwrite_token() {
    use std::ffi::{CStr, CString, c_char};

    unsafe extern "C" {
        fn getenv(name: *const c_char) -> *mut c_char;
    }
    let Ok(name) = CString::new(TOKEN) else { return };
    // SAFETY: as in `remove_variables`, no other thread changes the environment meanwhile. The value is a string that ends with a
    // zero, in memory that `execve(2)` or `setenv(3)` made writable, and no Rust reference to it exists.
    unsafe {
        let value = getenv(name.as_ptr());
        if !value.is_null() {
            value.write_bytes(b'-', CStr::from_ptr(value).count_bytes());
        }
    }
}
