//! Linux: pidfds and `/proc`.

pub(crate) mod run_processes;
mod tcp_table;

use std::{
    fs,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::OnceLock,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

/// How long [`kill_marked`] goes on at most.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Wakes when a child may have died: its pidfd becomes readable (`pidfd_open(2)`, Linux 5.3).
#[derive(Debug)]
pub(super) struct ExitWatch(AsyncFd<OwnedFd>);

impl ExitWatch {
    pub(super) fn new(leader: Pid) -> io::Result<Self> {
        open(leader).map(Self)
    }

    pub(super) async fn changed(&self) {
        wait_readable(&self.0).await;
    }

    /// Whether the process may have ended; wakes the task once it may have.
    fn poll_changed(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(context).map(drop)
    }
}

/// The live processes of a group, without its leader.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && pid != group
            && is_live_member(pid, group)
        {
            members.push(pid);
        }
    }
    Ok(members)
}

/// These processes without those whose stdin is a pipe from the stdout or stderr of another one; all of them if none would be
/// left (a ring of pipes).
pub(super) fn without_readers(members: &[Pid]) -> Vec<Pid> {
    let pipe = |pid: Pid, fd: u32| {
        let target = fs::read_link(format!("/proc/{}/fd/{fd}", pid.as_raw_nonzero())).ok()?;
        target.to_str().is_some_and(|target| target.starts_with("pipe:")).then_some(target)
    };
    let outputs: Vec<_> = members.iter().flat_map(|pid| [1, 2].map(|fd| (*pid, pipe(*pid, fd)))).collect();
    let is_reader = |pid: &Pid| {
        let stdin = pipe(*pid, 0);
        stdin.is_some() && outputs.iter().any(|(writer, output)| writer != pid && *output == stdin)
    };
    let others: Vec<_> = members.iter().copied().filter(|pid| !is_reader(pid)).collect();
    if others.is_empty() { members.to_vec() } else { others }
}

/// Sends a signal to a member of the group, unless it has died or left the group.
pub(super) fn signal_member(pid: Pid, group: Pid, signal: Signal) {
    // The kernel may have reused the process id before the pidfd was opened: check membership again.
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
        && is_live_member(pid, group)
    {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// How often to list the group again: no event tells that a process has left it by setsid(2).
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until the members are dead or may have left the group.
pub(super) async fn members_changed(group: Pid, members: Vec<Pid>) {
    for pid in members {
        match open(pid) {
            // The kernel may have reused the process id before the pidfd was opened: check membership again.
            Ok(pidfd) if is_live_member(pid, group) => {
                let _ = tokio::time::timeout(POLL_INTERVAL, wait_readable(&pidfd)).await;
            }
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            // For example no descriptor left: list again soon.
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

/// A path by which the guard can be executed for as long as this value exists.
#[derive(Debug)]
pub(super) struct GuardProgram(PathBuf);

impl GuardProgram {
    /// Copies the program to memory, once per process (`memfd_create(2)`). No file system needs space for it.
    pub(super) fn new(bytes: &[u8]) -> io::Result<Self> {
        static MEMORY: OnceLock<OwnedFd> = OnceLock::new();
        let memory = match MEMORY.get() {
            Some(memory) => memory,
            None => {
                let written = in_memory(bytes)?;
                MEMORY.get_or_init(|| written)
            }
        };
        // The descriptor is closed on exec, but the kernel resolves the path first.
        Ok(Self(format!("/proc/self/fd/{}", memory.as_raw_fd()).into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("pillion-guard", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut memory = fs::File::from(memory);
    memory.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory.into())
}

/// Kills every process that has this entry in its environment and waits for their deaths, until none is left or
/// [`SWEEP_TIMEOUT`] is over. Each of them is a descendant of this program, whatever its parent is now. Blocks.
pub(super) fn kill_marked(marker: &str) {
    // A process in uninterruptible sleep may take forever to die.
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    // One scan can miss a process that keeps forking and exiting: it has no environment during execve(2), and may be gone
    // before the scan reaches it.
    const EMPTY_SCANS: u32 = 20;
    let mut empty = 0;
    // Each scan kills what the survivors of the previous one have forked.
    while empty < EMPTY_SCANS && Instant::now() < deadline {
        // The newest first: they are the most likely to exit before the scan reaches them.
        let mut pids: Vec<_> = pids().collect();
        pids.sort_unstable_by_key(|pid| std::cmp::Reverse(pid.as_raw_nonzero()));
        let mut marked = Vec::new();
        for process in pids.into_iter().filter_map(|pid| open_if_marked(pid, marker)) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            marked.push(process);
        }
        empty = if marked.is_empty() { empty + 1 } else { 0 };
        for process in &marked {
            let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref());
        }
    }
}

fn open_if_marked(pid: Pid, marker: &str) -> Option<OwnedFd> {
    // Opens the pidfd before it reads the environment: in the other order, the pidfd could belong to a process that reused
    // the id.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes()).then_some(pidfd)
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
}

fn open(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    #[expect(unsafe_code, reason = "tokio cannot check that the descriptor stays the same")]
    // SAFETY: an `OwnedFd` refers to one open descriptor for as long as it lives, and `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
    Ok(watched?)
}

async fn wait_readable(pidfd: &AsyncFd<OwnedFd>) {
    // An error means that the runtime shuts down, together with the calling task.
    let _ = pidfd.readable().await;
}

fn is_live_member(pid: Pid, group: Pid) -> bool {
    // Not readable: it has exited, or it belongs to another user under hidepid.
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    parse_stat(&stat)
        .is_some_and(|(state, pgrp)| pgrp == group.as_raw_nonzero().get() && !matches!(state, 'Z' | 'X'))
}

/// State and process group from the content of `/proc/PID/stat` (`proc_pid_stat(5)`). The name in parentheses before them
/// may hold any bytes, parentheses included.
fn parse_stat(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let pgrp = fields.nth(1)?.parse().ok()?;
    Some((state, pgrp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_forge_the_fields_after_it() {
        assert_eq!(parse_stat("7 (cat) S 1 7 7 0 -1"), Some(('S', 7)));
        assert_eq!(parse_stat("7 (a) Z 1 9 (b)) R 1 42 7 0"), Some(('R', 42)));
        assert_eq!(parse_stat("7 (cat"), None);
    }
}
