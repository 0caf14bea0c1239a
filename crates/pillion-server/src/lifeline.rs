//! The lifeline: a stdin whose other end the host holds, so that its end tells of the host's death, by whatever cause.

use std::{
    io::{self, Read},
    thread,
};

use tokio::sync::oneshot;

/// Starts watching stdin; `None` where it is no lifeline. The receiver hears of the end, or of a failure to read on.
///
/// Bytes are read and ignored. A thread of its own reads, because tokio's stdin reads on its blocking pool, which
/// keeps a runtime from shutting down for as long as the read lasts:
/// <https://docs.rs/tokio/latest/tokio/io/fn.stdin.html>.
pub(crate) fn watch() -> io::Result<Option<oneshot::Receiver<()>>> {
    if !platform::is_lifeline() {
        return Ok(None);
    }
    let (ended, receiver) = oneshot::channel();
    thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        read_to_end();
        // Fails where the sidecar is stopping for another reason: nobody needs to know any more.
        let _ = ended.send(());
    })?;
    Ok(Some(receiver))
}

fn read_to_end() {
    let mut stdin = io::stdin().lock();
    let mut ignored = [0; 1024];
    loop {
        match stdin.read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => platform::wait_until_readable(),
            Err(error) => {
                tracing::warn!(%error, "cannot read stdin any more, which counts as its end");
                return;
            }
        }
    }
}

#[cfg(unix)]
mod platform {
    use std::{io, os::fd::AsFd};

    use rustix::{
        event::{PollFd, PollFlags, poll},
        fs::{FileType, fstat},
    };

    pub(super) fn is_lifeline() -> bool {
        holds_a_lifeline(io::stdin())
    }

    /// Pipes, and the socket pairs that Node makes. A terminal or a file ends for reasons of its own, and `/dev/null`
    /// at once.
    pub(super) fn holds_a_lifeline(fd: impl AsFd) -> bool {
        fstat(fd).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
        })
    }

    /// For a pipe that whoever shares it has made non-blocking. An error shows again in the read that follows.
    pub(super) fn wait_until_readable() {
        let stdin = io::stdin();
        let _ = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None);
    }
}

#[cfg(windows)]
mod platform {
    use winapi_util::{HandleRef, file};

    /// Pipes and sockets, which `GetFileType` does not tell apart.
    pub(super) fn is_lifeline() -> bool {
        file::typ(HandleRef::stdin()).is_ok_and(|kind| kind.is_pipe())
    }

    /// A pipe that the standard library can read blocks.
    pub(super) fn wait_until_readable() {
        std::thread::yield_now();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs::File, os::unix::net::UnixStream};

    use rustix::pty::{OpenptFlags, openpt};

    use super::platform::holds_a_lifeline;

    #[test]
    fn pipes_and_sockets_are_lifelines() {
        assert!(holds_a_lifeline(std::io::pipe().unwrap().0));
        assert!(holds_a_lifeline(UnixStream::pair().unwrap().0));
    }

    #[test]
    fn terminals_devices_and_files_are_not() {
        assert!(!holds_a_lifeline(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap()));
        assert!(!holds_a_lifeline(File::open("/dev/null").unwrap()));
        assert!(!holds_a_lifeline(tempfile::tempfile().unwrap()));
    }
}
