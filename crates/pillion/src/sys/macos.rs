//! SIGCHLD, and the kernel's list of a process group. Type-checked only; never run on a Mac.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::process::Pid;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
};

/// Tells when a child may have died: SIGCHLD, which tokio hands to every listener.
#[derive(Debug)]
pub(super) struct Watch(Mutex<Signal>);

impl Watch {
    pub(super) fn new(_leader: Pid) -> io::Result<Self> {
        signal(SignalKind::child()).map(|signal| Self(Mutex::new(signal)))
    }

    pub(super) async fn changed(&self) {
        self.0.lock().await.recv().await;
    }
}

/// The processes of a group, without its leader.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let mut pids = [0_i32; 1024];
    let size = size_of_val(&pids);
    #[expect(unsafe_code, reason = "libc has no safe form of it")]
    // SAFETY: the kernel writes at most `size` bytes of process ids to `pids`, which is that large and aligned.
    let found = unsafe {
        libc::proc_listpgrppids(
            group.as_raw_nonzero().get(),
            pids.as_mut_ptr().cast(),
            i32::try_from(size).unwrap_or(i32::MAX),
        )
    };
    let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
    Ok(pids.iter().take(found).filter_map(|pid| Pid::from_raw(*pid)).filter(|pid| *pid != group).collect())
}

/// Waits a moment: the caller looks again.
pub(super) async fn any_of_these_changed(_group: Pid, _members: Vec<Pid>) {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

/// There is no memory to run a program from; the guard would have to be a file.
pub(super) fn executable(_bytes: &[u8]) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Only a guard needs this, and there is none.
pub(super) fn kill_marked(_mark: &str) {}
