//! Checks that the file of a program is the one that the declaration expects, by its SHA-256.

#[cfg(unix)]
use std::time::UNIX_EPOCH;
use std::{
    collections::BTreeMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

use crate::{
    spawn::{executable, spawn_error},
    spec::Program,
};

/// Why a program must not be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its file is another one.
    Wrong(String),
    /// Its file does not exist.
    Missing(String),
}

/// The file as the system identifies it. It changes with the content, once it is [settled](Self::is_settled).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    size: u64,
    modified: Option<SystemTime>,
    /// Device, inode, and the time of the last change in seconds and nanoseconds (`inode(7)`), which no program can set.
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt as _;

        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change lies so far back that another one would have another time. Two changes within one tick of the file
    /// system's clock have the same: 10 ms on Linux before 6.13, 2 s on FAT.
    fn is_settled(&self, now: SystemTime) -> bool {
        const TICK: Duration = Duration::from_secs(2);
        #[cfg(unix)]
        let changed =
            u64::try_from(self.inode.2).ok().map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        #[cfg(not(unix))]
        let changed = self.modified;
        changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|age| age > TICK)
    }
}

/// The digests of the files that were read, by path: a restart need not read a large program again.
static KNOWN: Mutex<BTreeMap<PathBuf, (Identity, String)>> = Mutex::new(BTreeMap::new());

/// Checks the program, whose placeholders are expanded, if its declaration has a digest. Reads the file, at most once for each content:
/// call it off the runtime.
pub(crate) fn check(program: &Program) -> Result<(), Unfit> {
    let Some(expected) = &program.sha256 else { return Ok(()) };
    let path = executable::file(&program.path, program.current_dir.as_deref());
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the time of a file; a clock set back settles no file"
    )]
    let now = SystemTime::now();
    match digest(&path, now) {
        Ok(actual) if actual.eq_ignore_ascii_case(expected) => Ok(()),
        Ok(actual) => Err(Unfit::Wrong(format!(
            "{} is not the expected program: its SHA-256 is {actual}, and `sha256` in the declaration is {expected}. Install \
             the app again; its developer writes the digest of the present file into the declaration, after the file is signed",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Unfit::Missing(spawn_error::explain(&program.path, program.current_dir.as_deref(), &error)))
        }
        Err(error) => Err(Unfit::Wrong(format!(
            "the SHA-256 of {} cannot be checked, because the file cannot be read: {error}; make it readable to this user",
            path.display()
        ))),
    }
}

/// The SHA-256 of a file in hexadecimal digits.
fn digest(path: &Path, now: SystemTime) -> io::Result<String> {
    let mut file = File::open(path)?;
    let before = Identity::of(&file.metadata()?);
    let known = |path: &Path| KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    if let Some((identity, digest)) = known(path)
        && identity == before
    {
        return Ok(digest);
    }
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    // A file that changes while it is read is read again the next time.
    if Identity::of(&file.metadata()?) == before && before.is_settled(now) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), (before, digest.clone()));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// `sha256sum` of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn wrong(program: &Program) -> String {
        match check(program) {
            Err(Unfit::Wrong(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_content_is_refused_also_after_the_right_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backend");
        let program = Program::new(&path).sha256(ABC);
        fs::write(&path, "abc").unwrap();
        assert_eq!(check(&program), Ok(()));
        assert_eq!(
            check(&Program::new("backend").current_dir(folder.path()).sha256(ABC.to_uppercase())),
            Ok(())
        );
        // Of the same length, in another file of the same name, and by the same inode.
        let other = folder.path().join("other");
        fs::write(&other, "xyz").unwrap();
        fs::rename(&other, &path).unwrap();
        let why = wrong(&program);
        let actual = "3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282";
        assert!(why.contains(ABC) && why.contains(actual) && why.contains(path.to_str().unwrap()), "{why}");
        fs::write(&path, "abc").unwrap();
        assert_eq!(check(&program), Ok(()));
    }

    #[test]
    fn a_digest_is_remembered_once_the_file_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backend");
        fs::write(&path, "abc").unwrap();
        let is_known = || KNOWN.lock().unwrap().contains_key(&path);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(digest(&path, written).unwrap(), ABC);
        assert!(!is_known(), "another content could have the same time");
        let later = written + Duration::from_secs(60);
        assert_eq!(digest(&path, later).unwrap(), ABC);
        assert!(is_known());
        KNOWN.lock().unwrap().get_mut(&path).unwrap().1 = "remembered".to_owned();
        assert_eq!(digest(&path, later).unwrap(), "remembered");
        fs::write(&path, "abcd").unwrap();
        assert_ne!(digest(&path, later).unwrap(), "remembered");
    }

    #[test]
    fn a_missing_file_is_not_reported_as_a_wrong_program() {
        let missing = check(&Program::new("/nowhere/backend").sha256(ABC));
        assert!(
            matches!(&missing, Err(Unfit::Missing(why)) if why.contains("/nowhere/backend")),
            "{missing:?}"
        );
        assert_eq!(check(&Program::new("/nowhere/backend")), Ok(()), "nothing is expected");
    }
}
