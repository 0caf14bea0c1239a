//! The pipes that carry a sidecar's output.

use std::{io, os::fd::OwnedFd};

use tokio::net::unix::pipe::Receiver;

/// A read of so many bytes has emptied a pipe that was full (pipe(7)): its writer had to wait.
const FULL: usize = 64 * 1024;

/// The size of a pipe that was full. All pipes of a user without privileges may hold 64 MiB (`pipe-user-pages-soft`, pipe(7)); beyond that,
/// new pipes of all its programs are small. The floods of a few sidecars must not come near.
#[cfg(target_os = "linux")]
const GROWN: usize = 256 * 1024;

/// The read end of a pipe.
#[derive(Debug)]
pub(crate) struct OutputPipe {
    pipe: Receiver,
    /// Whether a read has found it full.
    was_full: bool,
}

impl OutputPipe {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { pipe: Receiver::from_owned_fd(fd)?, was_full: false })
    }

    /// Waits until there are bytes to read, or the end. An error means that the runtime shuts down. Cancel-safe.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.pipe.readable().await
    }

    /// Reads available bytes; `None` if there are none. Returns 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.pipe.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Ok(count) if count >= FULL && !self.was_full => {
                self.was_full = true;
                grow(&self.pipe);
                Some(Ok(count))
            }
            result => Some(result),
        }
    }

    /// Waits for nothing: [`read_now`](Self::read_now) knows at once.
    pub(crate) async fn readable_now(&mut self) {}

    /// Reads available bytes; `None` if there are none. Asks the kernel, not the runtime: the runtime may not know yet that a child wrote
    /// and died.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.pipe, &mut *buffer)) {
            Err(rustix::io::Errno::AGAIN) => None,
            result => Some(result.map_err(Into::into)),
        }
    }
}

/// Lets the pipe hold more, so that a flood does not wake its writer and its reader in turn for each piece.
#[cfg(target_os = "linux")]
fn grow(pipe: &Receiver) {
    use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
    // A user who has many large pipes gets no more, and the pipe stays as it is.
    if fcntl_getpipe_size(pipe).is_ok_and(|size| size < GROWN) {
        let _ = fcntl_setpipe_size(pipe, GROWN);
    }
}

/// Other systems have no such call. macOS lets a pipe grow by itself.
#[cfg(not(target_os = "linux"))]
fn grow(_: &Receiver) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, io::Write as _};

    use rustix::pipe::fcntl_getpipe_size;

    use super::*;

    #[tokio::test]
    async fn a_pipe_that_was_full_grows_and_keeps_what_it_has() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let most: usize = fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap().trim().parse().unwrap();
        if fcntl_getpipe_size(&writer).unwrap() != FULL {
            // Large pages, or a user who has used up what pipes may hold.
            return;
        }
        let mut pipe = OutputPipe::new(reader.into()).unwrap();
        let mut buffer = vec![0; FULL];
        async fn read(pipe: &mut OutputPipe, buffer: &mut [u8]) -> usize {
            pipe.readable().await.unwrap();
            pipe.read(buffer).unwrap().unwrap()
        }
        writer.write_all(b"little").unwrap();
        assert_eq!(read(&mut pipe, &mut buffer).await, 6);
        assert_eq!(fcntl_getpipe_size(&writer).unwrap(), FULL);
        writer.write_all(&[b'x'; FULL]).unwrap();
        assert_eq!(read(&mut pipe, &mut buffer[..FULL / 2]).await, FULL / 2);
        assert_eq!(fcntl_getpipe_size(&writer).unwrap(), FULL);
        assert_eq!(read(&mut pipe, &mut buffer).await, FULL / 2);
        writer.write_all(&[b'y'; FULL]).unwrap();
        assert_eq!(read(&mut pipe, &mut buffer).await, FULL);
        if most >= GROWN {
            assert_eq!(fcntl_getpipe_size(&writer).unwrap(), GROWN);
        }
        writer.write_all(b"the end").unwrap();
        drop(writer);
        assert_eq!(read(&mut pipe, &mut buffer).await, 7);
        assert_eq!(read(&mut pipe, &mut buffer).await, 0);
    }
}
