//! What the host gave, taken out of the environment once, and neither the token nor the listener left there.

use std::{
    env, io,
    sync::{Mutex, OnceLock, PoisonError},
};

use pillion_protocol::{
    HostEnvironment,
    environment::{EnvironmentError, PIPE, TOKEN},
};

use crate::inherited_listener::{self, Handed};

/// What the first call of [`take`] found, until somebody serves it.
static LISTENER: Mutex<Option<io::Result<Handed>>> = Mutex::new(None);

/// What the host gave. The first call removes the token from the environment, so that no program that this one starts
/// inherits it; later calls still know it, so that a second server of the same process is no open one.
pub(crate) fn take() -> Result<HostEnvironment, EnvironmentError> {
    static GIVEN: OnceLock<Result<HostEnvironment, EnvironmentError>> = OnceLock::new();
    GIVEN
        .get_or_init(|| {
            let given = HostEnvironment::read(|name| env::var_os(name));
            *LISTENER.lock().unwrap_or_else(PoisonError::into_inner) = inherited_listener::take().transpose();
            if [TOKEN, PIPE, inherited_listener::NAMES].iter().any(|name| env::var_os(name).is_some()) {
                forget();
            }
            given
        })
        .clone()
}

/// The listener that the host handed over, to whoever asks first after [`take`]; or why it is none to serve.
pub(crate) fn listener() -> io::Result<Option<Handed>> {
    LISTENER.lock().unwrap_or_else(PoisonError::into_inner).take().transpose()
}

#[expect(unsafe_code, reason = "there is no other way to unset a variable")]
fn forget() {
    #[cfg(target_os = "linux")]
    let copy = env::var_os(TOKEN).map(|_| initial::find());
    // SAFETY: what std asks for is that no other thread uses the environment past std's own lock at this moment
    // (https://doc.rust-lang.org/std/env/fn.remove_var.html). Nobody can promise that for a whole program, so this call is
    // documented as the first thing of `main` (`Sidecar::new`), and it is the mildest of its kind where somebody does
    // otherwise: `unsetenv` of glibc, musl and macOS allocates nothing, and frees nothing that the program was started
    // with. It moves pointers down by one place, so that a `getenv` in parallel reads a string that is still there. On
    // Windows the system itself locks the environment.
    unsafe {
        env::remove_var(TOKEN);
        env::remove_var(PIPE);
        env::remove_var(inherited_listener::NAMES);
    }
    #[cfg(target_os = "linux")]
    if let Some(Err(error)) = copy.map(|found| found.and_then(initial::overwrite)) {
        tracing::debug!(%error, "the token stays readable in /proc/self/environ, for this user");
    }
}

/// The copy that the kernel keeps showing: `/proc/PID/environ` is the memory that the program was started with, whatever
/// it has unset since then (<https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html>). Other programs of the user, and whatever collects crash reports, read it
/// there, so it is overwritten in place.
#[cfg(target_os = "linux")]
mod initial {
    use std::{
        fs::{self, OpenOptions},
        io,
        os::unix::fs::FileExt,
    };

    use pillion_protocol::Token;

    use super::TOKEN;

    /// Where the digits are in this process's memory.
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

    /// Where in an environment block the value of the variable starts, if it is as long as a token.
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

    /// Overwrites the digits, which nothing in this process points to any more.
    pub(super) fn overwrite(address: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&[b'-'; Token::DIGITS], address)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_variable_is_found_by_its_whole_name() {
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
