//! A socket file in the directory of this user.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::PathBuf,
};

use rustix::process::{Pid, geteuid, test_kill_process};
use tokio::net::{UnixListener, UnixStream};

use super::{directory::Directory, pid_of, random};
use crate::ControlError;

/// The end of the name of a socket that accepts connections.
const SUFFIX: &str = ".sock";
/// The end of the name that a socket has until it accepts connections.
const NEW_SUFFIX: &str = ".new";
/// How many names are tried.
const ATTEMPTS: u32 = 8;

pub(crate) type Stream = UnixStream;

/// Where an app may answer.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) pid: u32,
    pub(crate) path: PathBuf,
}

impl Address {
    /// Removes the file of the socket. If it is gone, there is nothing to do.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The socket of this process. Drop removes its file.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    directory: Directory,
    address: Address,
}

impl Listener {
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub(crate) fn bind() -> Result<Self, ControlError> {
        Self::bind_in(Directory::own())
    }

    /// A file with the final name always accepts connections: another process removes one that refuses them. So the socket gets its final
    /// name last.
    fn bind_in(directory: Directory) -> Result<Self, ControlError> {
        directory.create()?;
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let stem = format!(
                "{}-{}",
                std::process::id(),
                random().map_err(ControlError::io("name", directory.path()))?
            );
            let new = directory.path().join(format!("{stem}{NEW_SUFFIX}"));
            let path = directory.path().join(format!("{stem}{SUFFIX}"));
            let socket = UnixListener::bind(&new).map_err(ControlError::io("listen on", &new))?;
            let named = fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
                .and_then(|()| fs::rename(&new, &path));
            match named {
                Ok(()) => {
                    let address = Address { pid: std::process::id(), path };
                    return Ok(Self { socket, directory, address });
                }
                // Between the bind and the start of listening, another process took it for one of a dead app.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    failure = Some(ControlError::io("name", new)(error));
                }
                Err(error) => {
                    let _ = fs::remove_file(&new);
                    return Err(ControlError::io("name", new)(error));
                }
            }
        }
        Err(failure
            .unwrap_or_else(|| ControlError::io("name", directory.path())(io::Error::other("no attempt"))))
    }

    /// The path of the socket, for people.
    pub(crate) fn name(&self) -> String {
        self.address.path.display().to_string()
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }

    /// The next connection of this user. Other users cannot reach the socket; this is the second line of defence. The system tells the
    /// user of the peer at the time of its connection (`SO_PEERCRED`, unix(7); getpeereid(3) on macOS).
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.socket.accept().await?;
            match is_of_this_user(&stream) {
                Ok(true) => return Ok(stream),
                Ok(false) => tracing::warn!("rejected a connection of another user to the control socket"),
                Err(error) => tracing::debug!(%error, "rejected a connection without peer credentials"),
            }
        }
    }

    /// Removes what dead apps have left.
    pub(crate) async fn tidy(&self) {
        let (_, _) = list(&self.directory, true).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.address.remove();
    }
}

/// The apps of this user that may answer, and the directories that cannot be used. Removes what dead apps have left.
pub(crate) async fn addresses() -> (Vec<Address>, Vec<ControlError>) {
    let (mut addresses, mut errors) = (Vec::new(), Vec::new());
    for directory in Directory::all() {
        let (found, error) = list(&directory, false).await;
        addresses.extend(found);
        errors.extend(error);
    }
    (addresses, errors)
}

/// The sockets in this directory. With `test_all`, also connects to those that have their final names, to find the dead ones.
async fn list(directory: &Directory, test_all: bool) -> (Vec<Address>, Option<ControlError>) {
    match directory.exists() {
        Ok(true) => {}
        Ok(false) => return (Vec::new(), None),
        Err(error) => return (Vec::new(), Some(error)),
    }
    let entries = match fs::read_dir(directory.path()) {
        Ok(entries) => entries,
        Err(error) => return (Vec::new(), Some(ControlError::io("read", directory.path())(error))),
    };
    let mut addresses = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        let new = name.strip_suffix(NEW_SUFFIX).and_then(pid_of);
        let Some(pid) = name.strip_suffix(SUFFIX).and_then(pid_of).or(new).filter(|_| is_socket) else {
            continue;
        };
        let address = Address { pid, path: entry.path() };
        if test_all || new.is_some() {
            drop(connect(&address).await);
        }
        if new.is_none() {
            addresses.push(address);
        }
    }
    (addresses, None)
}

/// Connects. Returns [`io::ErrorKind::ConnectionRefused`] or [`io::ErrorKind::NotFound`] if the app has ended, and then removes its file;
/// [`io::ErrorKind::PermissionDenied`] if another user serves the socket.
pub(crate) async fn connect(address: &Address) -> io::Result<UnixStream> {
    let stream = match UnixStream::connect(&address.path).await {
        Ok(stream) => stream,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused && is_dead(address.pid) {
                // Only the socket of a dead app: a live one accepts connections as long as it has its name.
                address.remove();
            }
            return Err(error);
        }
    };
    if is_of_this_user(&stream)? { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether the app whose socket refuses connections has ended. On Linux a refusal says so: a full queue is another error (connect(2)), and
/// the process id, which can be used again, and by another container, says nothing. On macOS a full queue refuses as well, and the file
/// stays until its process id is free.
fn is_dead(pid: u32) -> bool {
    let runs = || {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
    };
    cfg!(target_os = "linux") || !runs()
}

fn is_of_this_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener as StdListener, path::Path};

    use super::*;

    fn directory(folder: &Path) -> Directory {
        let directory = Directory::at(folder.join("pillion"));
        directory.create().unwrap();
        directory
    }

    fn names(directory: &Directory) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[tokio::test]
    async fn the_socket_is_of_this_user_alone_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Listener::bind_in(directory(folder.path())).unwrap();
        let mode = fs::metadata(&listener.address.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (found, _) = list(&listener.directory, true).await;
        assert_eq!(found.len(), 1, "a live socket stays");
        assert_eq!(found[0].pid, std::process::id());
        let (connected, accepted) = tokio::join!(connect(&found[0]), listener.accept());
        let _streams = (connected.unwrap(), accepted.unwrap());
        let directory = listener.directory.clone();
        drop(listener);
        assert_eq!(names(&directory), [""; 0]);
    }

    #[tokio::test]
    async fn sockets_of_dead_apps_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let directory = directory(folder.path());
        // A process id that is in use, as after the reuse of a number: the connection decides.
        for name in ["1-0123456789abcdef.sock", "1-0123456789abcdef.new", "mine.sock"] {
            drop(StdListener::bind(directory.path().join(name)).unwrap());
        }
        fs::write(directory.path().join("2-0123456789abcdef.sock"), "a file").unwrap();
        let listener = Listener::bind_in(directory.clone()).unwrap();
        listener.tidy().await;
        let mut left = vec!["2-0123456789abcdef.sock".to_owned(), "mine.sock".to_owned()];
        left.push(listener.address.path.file_name().unwrap().to_str().unwrap().to_owned());
        left.sort_unstable();
        if cfg!(target_os = "linux") {
            assert_eq!(names(&directory), left);
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_not_a_dead_app() {
        let folder = tempfile::tempdir().unwrap();
        let directory = directory(folder.path());
        let path = directory.path().join("1-0123456789abcdef.sock");
        let listener = StdListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let address = Address { pid: 1, path: path.clone() };
        let mut held = Vec::new();
        // The app is suspended: it accepts no connection. At some number of them, the system accepts none for it either.
        let error = loop {
            match connect(&address).await {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 100, "the queue has no limit");
        };
        assert!(path.exists(), "{error}");
    }
}
