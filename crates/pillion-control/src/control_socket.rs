//! Where the app listens: a Unix domain socket, on Windows a named pipe.
//!
//! Each system offers the same: `Listener` with `bind`, `accept` and `tidy`; `Address`; `addresses`, which lists those of this user's
//! apps; and `connect`.

#[cfg(unix)]
mod directory;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Address, Listener, Stream, addresses, connect};
#[cfg(windows)]
pub(crate) use windows::{Address, Listener, Stream, addresses, connect};

/// 64 random bits in hexadecimal digits, so that no name is used twice.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// The process id in `PID-RANDOM`.
fn pid_of(name: &str) -> Option<u32> {
    let (pid, random) = name.split_once('-')?;
    let valid = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pid = pid.bytes().all(|byte| byte.is_ascii_digit()).then(|| pid.parse().ok())??;
    valid.then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_crate_are_apps() {
        assert_eq!(pid_of(&format!("4711-{}", random().unwrap())), Some(4711));
        for name in [
            "4711",
            "4711-",
            "-0123456789abcdef",
            "+1-0123456789abcdef",
            "1-0123456789abcdeg",
            "x-0123456789abcdef",
        ] {
            assert_eq!(pid_of(name), None, "{name}");
        }
    }
}
