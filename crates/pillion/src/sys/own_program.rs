//! This program's own file, which may be started again as a guard ([`run_if_asked`](crate::guard::run_if_asked)).

use std::{
    env,
    io::{self, Read},
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
    time::SystemTime,
};

/// What the first argument of a guard begins with. A random value follows, which the guard receives on its stdin as well. It shows that
/// the two belong together, and not where they come from: the process that starts a guard chooses both.
const FLAG: &str = "--pillion-guard=";

/// What identifies a version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct OwnProgram {
    path: PathBuf,
    version: Version,
}

static OWN: OnceLock<Result<OwnProgram, String>> = OnceLock::new();

/// The value after [`FLAG`], if this process was started as a guard.
pub(crate) fn asked() -> Option<String> {
    let argument = env::args_os().nth(1)?;
    Some(argument.to_str()?.strip_prefix(FLAG)?.to_owned())
}

/// Whether the app sends the value that the argument has.
pub(super) fn receives(value: &str, stream: &mut impl Read) -> bool {
    let mut received = vec![0; value.len()];
    !value.is_empty() && stream.read_exact(&mut received).is_ok() && received == value.as_bytes()
}

/// Ends a process that has the argument of a guard and that no app has started as one.
pub(super) fn refuse() -> ! {
    #[expect(clippy::print_stderr, reason = "a guard that is started by hand has no other output")]
    {
        eprintln!("this argument is for a program that pillion starts, not for use by hand");
    }
    process::exit(2)
}

/// Remembers that this program becomes a guard when it is started as one.
pub(crate) fn remember() {
    OWN.get_or_init(|| {
        // macOS aborts a program that has the entitlement of the App Sandbox and is started inside one, before its `main`:
        // <https://developer.apple.com/forums/thread/706390>. The variable tells of the sandbox.
        if cfg!(target_os = "macos") && env::var_os("APP_SANDBOX_CONTAINER_ID").is_some() {
            return Err("in the App Sandbox, macOS does not start a program a second time".to_owned());
        }
        let found = env::current_exe().and_then(|path| Ok(OwnProgram { version: version(&path)?, path }));
        found.map_err(|error| format!("this program cannot find its own file: {error}"))
    });
}

/// The file to start as a guard. `None` if the program does not become one.
///
/// A file that was replaced since the start of this process, as an update does, is refused: the new program may be one that never
/// becomes a guard.
pub(super) fn file() -> Option<Result<&'static Path, String>> {
    if cfg!(target_os = "linux") && OWN.get().is_some() {
        // The very file that this process executes, even if another one has taken its name.
        return Some(Ok(Path::new("/proc/self/exe")));
    }
    let own = match OWN.get()? {
        Ok(own) => own,
        Err(why) => return Some(Err(why.clone())),
    };
    Some(match version(&own.path) {
        Ok(now) if now == own.version => Ok(&own.path),
        Ok(_) => Err(format!("{} was replaced since this program was started", own.path.display())),
        Err(error) => Err(format!("cannot read {}: {error}", own.path.display())),
    })
}

/// The first argument of a guard with this value.
pub(super) fn argument(value: &str) -> String {
    format!("{FLAG}{value}")
}

/// A value that no person passes by accident: 32 characters.
pub(super) fn fresh_value() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn version(file: &Path) -> io::Result<Version> {
    let metadata = file.metadata()?;
    Ok(Version { size: metadata.len(), modified: metadata.modified().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_new_each_time_and_has_32_characters() {
        let (one, two) = (fresh_value().unwrap(), fresh_value().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 32);
        assert_eq!(argument(&one).strip_prefix(FLAG), Some(&*one));
    }

    #[test]
    fn the_value_must_be_that_of_the_argument() {
        let receives = |value, bytes: &[u8]| receives(value, &mut &bytes[..]);
        assert!(receives("abcd", b"abcd"));
        assert!(receives("abcd", b"abcdF"));
        assert!(!receives("abcd", b"abcx"));
        assert!(!receives("abcd", b"abc"));
        assert!(!receives("", b""));
    }

    #[test]
    fn another_version_of_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app");
        std::fs::write(&file, "one").unwrap();
        let before = version(&file).unwrap();
        assert_eq!(version(&file).unwrap(), before);
        std::fs::write(&file, "another").unwrap();
        assert_ne!(version(&file).unwrap(), before);
        std::fs::remove_file(&file).unwrap();
        version(&file).unwrap_err();
    }
}
