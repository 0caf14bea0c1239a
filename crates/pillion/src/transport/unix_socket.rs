//! A Unix domain socket that nobody but this program finds.

use std::{
    env, fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// What this program connects to. Nobody can any more once it is dropped, but who is connected stays so.
///
/// On Linux it is a descriptor, and not a file: once the socket is bound its name is removed, and `/proc/self/fd` leads to it
/// all the same (`proc_pid_fd(5)`). So nothing is left behind however this program ends, and others have to pass the
/// system's check for who may trace this process before they find it. Elsewhere it is a file in a directory of mode 0700.
#[derive(Debug)]
pub(crate) struct Name {
    path: PathBuf,
    #[cfg(target_os = "linux")]
    _inode: std::os::fd::OwnedFd,
    _directory: Option<TempDir>,
}

impl Name {
    /// For `connect(2)`. It is short: addresses have 108 bytes, on macOS 104 (unix(7)).
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(target_os = "linux")]
    fn new(directory: TempDir, path: PathBuf) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::fs::{Mode, OFlags, open};

        let inode = open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let nameless = PathBuf::from(format!("/proc/self/fd/{}", inode.as_raw_fd()));
        // Without /proc the name is needed.
        if !nameless.exists() {
            return Ok(Self { path, _inode: inode, _directory: Some(directory) });
        }
        directory.close()?;
        Ok(Self { path: nameless, _inode: inode, _directory: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn new(directory: TempDir, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// A socket that listens, where the user's own runtime files are, or else among the temporary ones.
pub(crate) fn bind() -> io::Result<(UnixListener, Name)> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    match runtime.map(|path| bind_in(&path)) {
        Some(Ok(bound)) => Ok(bound),
        Some(Err(_)) | None => bind_in(&env::temp_dir()),
    }
}

fn bind_in(base: &Path) -> io::Result<(UnixListener, Name)> {
    let directory = private_directory(base)?;
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path)?;
    Ok((listener, Name::new(directory, path)?))
}

/// A directory that other users cannot enter, from the moment it is there.
fn private_directory(base: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("pillion-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(base)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn whoever_has_the_name_connects_and_nobody_does_after_it() {
        let base = tempfile::tempdir().unwrap();
        let (listener, name) = bind_in(base.path()).unwrap();
        UnixStream::connect(name.path()).unwrap().write_all(b"hello").unwrap();
        let mut heard = String::new();
        listener.accept().unwrap().0.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        let path = name.path().to_owned();
        drop(name);
        UnixStream::connect(path).unwrap_err();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_on_disk_leads_to_it() {
        let base = tempfile::tempdir().unwrap();
        let bound = bind_in(base.path()).unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        UnixStream::connect(bound.1.path()).unwrap();
    }

    #[test]
    fn while_it_is_bound_other_users_cannot_enter_the_directory() {
        let base = tempfile::tempdir().unwrap();
        let directory = private_directory(base.path()).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_directory_that_is_too_deep_is_said_to_be() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        assert_eq!(bind_in(&deep).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }
}
