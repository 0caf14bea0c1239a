//! The output of the sidecar after the app's death.

use std::{
    ffi::c_int,
    os::fd::{AsRawFd, OwnedFd},
};

use super::super::run_log::RunLog;
use super::{read, set_nonblocking};

/// The read ends of the sidecar's output, each with the number of its stream. While the app lives, only the app reads from them.
///
/// A pipe without a reader would kill the sidecar at its next line (SIGPIPE), before its grace period is over. So after the
/// app's death the guard holds the read ends, and keeps what arrives for the log file.
pub(crate) struct Outputs(Vec<(usize, OwnedFd)>);

impl Outputs {
    pub(super) fn new(pipes: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self(pipes.into_iter().enumerate().collect())
    }

    /// The descriptor of one that is open; or -1.
    pub(super) fn descriptor(&self, at: usize) -> c_int {
        self.0.get(at).map_or(-1, |(_, pipe)| pipe.as_raw_fd())
    }

    /// Prepares for [`wait`](super::wait) without the app. Not to be called while the app reads: it shares the setting.
    pub(crate) fn take_over(&mut self) {
        self.0.retain(|(_, pipe)| set_nonblocking(pipe));
    }

    /// Reads at most 16 KiB from each pipe, so that the caller stays responsive. Returns whether there was something.
    pub(super) fn drain(&mut self, log: &mut RunLog) -> bool {
        let mut bytes = [0; 16 * 1024];
        let mut found = false;
        self.0.retain(|(stream, pipe)| {
            // SAFETY: reads at most as many bytes as the array holds.
            let count = unsafe { read(pipe.as_raw_fd(), bytes.as_mut_ptr(), bytes.len()) };
            if let Ok(count @ 1..) = usize::try_from(count) {
                log.add(*stream, &bytes[..count]);
                found = true;
            }
            // 0 is the end: no process holds the write end. An error means that the pipe is empty.
            count != 0
        });
        found
    }

    /// Reads what is left when no process of the sidecar is; another process that holds a write end may go on.
    pub(crate) fn drain_all(&mut self, log: &mut RunLog) {
        /// More than a pipe can hold without privileges: 1 MiB (pipe(7)).
        const READS: u32 = 80;
        self.take_over();
        for _ in 0..READS {
            if !self.drain(log) {
                return;
            }
        }
    }
}
