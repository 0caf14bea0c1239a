//! A Unix domain socket that only this process can find.

use std::{
    env, fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{net::UnixStream, time};

use crate::sys;

/// The name of the socket, for clients in this process. After it is dropped no client can connect; existing connections stay.
///
/// On Linux it is a descriptor: the file of the socket is removed after the bind, and `/proc/self/fd` still leads to the socket
/// (`proc_pid_fd(5)`). So no file is left, however this process ends, and another process finds the socket only if the system lets
/// it trace this process. Elsewhere it is a file in a directory of mode 0700, which another program may delete.
#[derive(Debug)]
pub(crate) struct Name {
    path: PathBuf,
    #[cfg(target_os = "linux")]
    _inode: std::os::fd::OwnedFd,
    _directory: Option<TempDir>,
}

impl Name {
    /// The path for `connect(2)`. It must be short: an address has 108 bytes, on macOS 104 (unix(7)).
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path for `connect(2)` and `sendto(2)` of other processes of this user, while this process lives.
    #[cfg(target_os = "linux")]
    pub(crate) fn path_for_others(&self) -> PathBuf {
        let own = Path::new("/proc").join(std::process::id().to_string());
        self.path.strip_prefix("/proc/self").map_or_else(|_| self.path.clone(), |rest| own.join(rest))
    }

    #[cfg(target_os = "linux")]
    fn new(directory: TempDir, path: PathBuf) -> io::Result<Self> {
        use std::os::fd::AsRawFd;

        let inode = Self::inode(&path)?;
        let path_of_descriptor = PathBuf::from(format!("/proc/self/fd/{}", inode.as_raw_fd()));
        // Without /proc the file must stay.
        if !path_of_descriptor.exists() {
            return Ok(Self { path, _inode: inode, _directory: Some(directory) });
        }
        directory.close()?;
        Ok(Self { path: path_of_descriptor, _inode: inode, _directory: None })
    }

    #[cfg(target_os = "linux")]
    fn inode(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
        use rustix::fs::{Mode, OFlags, open};

        Ok(open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
    }

    #[cfg(not(target_os = "linux"))]
    fn new(directory: TempDir, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, _directory: Some(directory) })
    }

    /// Whether the path still leads to the socket. A descriptor always does; a program that cleans up old files may have deleted a
    /// file.
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }
}

/// The longest time between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// Connects, and waits as long as the backlog of the server is full: on Linux, `connect(2)` then fails for a socket that does not block
/// (unix(7)), where a port or a socket that blocks would wait. Other systems refuse the connection (`ECONNREFUSED`), as if there was no
/// server. Dropping the future abandons the attempt.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => time::sleep(pause).await,
            done => return done,
        }
        pause = MAX_PAUSE.min(2 * pause);
    }
}

/// Connects a socket that does not block. `connect(2)` of such a socket never takes time: it succeeds or fails at once (unix(7)).
#[cfg(target_os = "linux")]
pub(crate) fn connect_now(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// Binds a socket in the user's runtime directory, on macOS in the user's cache directory, or else in the directory for temporary
/// files. macOS deletes old files of the directory for temporary files while they are in use, and none of the cache directory.
pub(crate) fn bind() -> io::Result<(UnixListener, Name)> {
    bind_with(|path| UnixListener::bind(path))
}

/// Does the same for a socket that `bind` makes.
pub(crate) fn bind_with<T>(bind: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, Name)> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let bases = runtime.into_iter().chain(sys::user_cache_directory());
    match bases.map(|base| bind_in(&base, &bind)).find_map(Result::ok) {
        Some(bound) => Ok(bound),
        None => bind_in(&env::temp_dir(), &bind),
    }
}

fn bind_in<T>(base: &Path, bind: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, Name)> {
    let directory = private_directory(base)?;
    let path = directory.path().join("s");
    let socket = bind(&path)?;
    Ok((socket, Name::new(directory, path)?))
}

/// Creates a directory that other users can never enter: its mode is set at its creation.
fn private_directory(base: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("pillion-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(base)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;

    /// A socket with a file, as on a system without `/proc`, and its file.
    pub(crate) fn bind_file() -> (UnixListener, Name, PathBuf) {
        let directory = private_directory(&env::temp_dir()).unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        #[cfg(target_os = "linux")]
        let name =
            Name { path: path.clone(), _inode: Name::inode(&path).unwrap(), _directory: Some(directory) };
        #[cfg(not(target_os = "linux"))]
        let name = Name::new(directory, path.clone()).unwrap();
        (listener, name, path)
    }

    #[test]
    fn clients_connect_until_the_name_is_dropped() {
        let base = tempfile::tempdir().unwrap();
        let (listener, name) = bind_in(base.path(), |path| UnixListener::bind(path)).unwrap();
        UnixStream::connect(name.path()).unwrap().write_all(b"hello").unwrap();
        let mut received = String::new();
        listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
        assert_eq!(received, "hello");
        let path = name.path().to_owned();
        drop(name);
        UnixStream::connect(path).unwrap_err();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_file_leads_to_the_socket() {
        let base = tempfile::tempdir().unwrap();
        let bound = bind_in(base.path(), |path| UnixListener::bind(path)).unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
        UnixStream::connect(bound.1.path()).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_succeeds_or_fails_at_once() {
        let base = tempfile::tempdir().unwrap();
        let (listener, name) = bind_in(base.path(), |path| UnixListener::bind(path)).unwrap();
        let mut client = connect_now(name.path()).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
        let mut received = String::new();
        client.read_to_string(&mut received).unwrap();
        assert_eq!(received, "hello");
        // Nothing accepts these.
        rustix::net::listen(&listener, 1).unwrap();
        let waiting: io::Result<Vec<_>> = (0..100).map(|_| connect_now(name.path())).collect();
        assert_eq!(waiting.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_waits_for_a_place_in_the_backlog() {
        use std::{
            sync::Arc,
            task::{Context, Waker},
        };

        use crate::transport::connector::Connector;

        let base = tempfile::tempdir().unwrap();
        let (listener, name) = bind_in(base.path(), |path| UnixListener::bind(path)).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let connector = Connector::Unix(Arc::new(name));
        let mut waiting = Vec::new();
        while let Some(client) = connector.connect_now() {
            waiting.push(client.unwrap());
        }
        let mut late = Box::pin(connector.connect());
        assert!(late.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        listener.accept().unwrap();
        late.await.unwrap();
    }

    #[test]
    fn other_users_cannot_enter_the_directory() {
        let base = tempfile::tempdir().unwrap();
        let directory = private_directory(base.path()).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        assert_eq!(
            bind_in(&deep, |path| UnixListener::bind(path)).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
    }
}
