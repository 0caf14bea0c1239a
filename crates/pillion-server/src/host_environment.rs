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
    #[cfg(target_os = "linux")]
    let copy = env::var_os(TOKEN).map(|_| initial::find());
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
    #[cfg(target_os = "linux")]
    if let Some(Err(error)) = copy.map(|found| found.and_then(initial::overwrite)) {
        tracing::debug!(%error, "cannot overwrite the token in /proc/self/environ: programs of this user can read it there");
    }
}

/// Overwrites the token in the initial environment block. `/proc/PID/environ` keeps showing that memory after the program has
/// unset a variable (<https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html>), and other programs of the user and
/// crash collectors read it there.
#[cfg(target_os = "linux")]
mod initial {
    use std::{
        fs::{self, OpenOptions},
        io,
        os::unix::fs::FileExt,
    };

    use pillion_protocol::Token;

    use super::TOKEN;

    /// The address of the token's digits in the memory of this process.
    pub(super) fn find() -> io::Result<u64> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let environment = zeroize::Zeroizing::new(fs::read("/proc/self/environ")?);
        let offset = offset(&environment).ok_or_else(gone)?;
        // The second field is the program's name in parentheses, and may hold anything; the 50th is `env_start`
        // (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, fields) = stat.rsplit_once(") ").ok_or_else(gone)?;
        let start: u64 =
            fields.split(' ').nth(50 - 3).and_then(|field| field.parse().ok()).ok_or_else(gone)?;
        Ok(start + offset as u64)
    }

    /// The offset of the token's value in an environment block, if the value has the length of a token.
    pub(super) fn offset(environment: &[u8]) -> Option<usize> {
        let mut start = 0;
        for entry in environment.split(|byte| *byte == 0) {
            let value = entry.strip_prefix(TOKEN.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            if value.is_some_and(|value| value.len() == Token::DIGITS) {
                return Some(start + TOKEN.len() + 1);
            }
            start += entry.len() + 1;
        }
        None
    }

    /// Overwrites the digits. The variable is unset, so no pointer to them is left in this process.
    pub(super) fn overwrite(address: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&[b'-'; Token::DIGITS], address)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_token_is_found_by_the_whole_name_of_its_variable() {
            let digits = "a".repeat(Token::DIGITS);
            let block =
                format!("A=PILLION_TOKEN={digits}\0MY_PILLION_TOKEN={digits}\0PILLION_TOKEN={digits}\0B=\0");
            let found = offset(block.as_bytes()).unwrap();
            assert!(block[..found].ends_with("\0PILLION_TOKEN="));
            assert_eq!(&block[found..found + Token::DIGITS], digits);
            for other in ["", "PILLION_TOKEN", "PILLION_TOKEN=\0", "PILLION_TOKEN=short\0"] {
                assert_eq!(offset(other.as_bytes()), None, "{other:?}");
            }
        }
    }
}
