//! The lifeline: the host holds the other end of stdin, so stdin ends when the host dies, whatever the cause.

#[cfg(windows)]
#[path = "lifeline/windows.rs"]
mod platform;

use std::{
    io::{self, Read},
    thread,
};

use tokio::sync::oneshot;

/// Starts to watch stdin. Returns `None` if stdin is not a lifeline. At the end of stdin, or when reading fails, `on_end` runs and the
/// receiver resolves.
///
/// A separate thread reads stdin and discards the bytes. tokio's own stdin reads on the blocking pool, and a pending read
/// would keep the runtime from shutting down: <https://docs.rs/tokio/latest/tokio/io/fn.stdin.html>.
pub(crate) fn watch(on_end: impl FnOnce() + Send + 'static) -> io::Result<Option<oneshot::Receiver<()>>> {
    let Some(lifeline) = platform::take()? else { return Ok(None) };
    let (ended, receiver) = oneshot::channel();
    thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        read_to_end(lifeline);
        on_end();
        // Fails if the sidecar already stops for another reason, and the receiver is gone.
        let _ = ended.send(());
    })?;
    Ok(Some(receiver))
}

fn read_to_end(mut lifeline: impl Read) {
    let mut ignored = [0; 1024];
    loop {
        match lifeline.read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => platform::wait_until_readable(),
            Err(error) => {
                tracing::warn!(%error, "cannot read stdin, which counts as its end: the sidecar stops");
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

    /// Stdin, if it is a lifeline.
    #[expect(clippy::unnecessary_wraps, reason = "the signature is the same on every system")]
    pub(super) fn take() -> io::Result<Option<io::Stdin>> {
        Ok(holds_a_lifeline(io::stdin()).then(io::stdin))
    }

    /// True for pipes, and for the socket pairs that Node creates. A terminal or a file ends for other reasons than the
    /// host's death, and `/dev/null` ends at once.
    pub(super) fn holds_a_lifeline(fd: impl AsFd) -> bool {
        fstat(fd).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
        })
    }

    /// For a pipe that another holder has made non-blocking. The next read reports an error again.
    pub(super) fn wait_until_readable() {
        let stdin = io::stdin();
        let _ = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None);
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
    fn terminals_devices_and_files_are_no_lifelines() {
        assert!(!holds_a_lifeline(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap()));
        assert!(!holds_a_lifeline(File::open("/dev/null").unwrap()));
        assert!(!holds_a_lifeline(tempfile::tempfile().unwrap()));
    }
}
