//! pidfds and `/proc`.

use std::{
    fs,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

/// How long the marked are killed at most.
const KILLING: Duration = Duration::from_secs(10);

/// Tells when a child may have died: its pidfd becomes readable (`pidfd_open(2)`, Linux 5.3).
#[derive(Debug)]
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    pub(super) fn new(leader: Pid) -> io::Result<Self> {
        open(leader).map(Self)
    }

    pub(super) async fn changed(&self) {
        died(&self.0).await;
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

/// How often the group is listed anew: no event tells that a process has left it, as setsid(2) does.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until those that are still in the group are dead, or may have left it.
pub(super) async fn any_of_these_changed(group: Pid, members: Vec<Pid>) {
    for pid in members {
        match open(pid) {
            // The descriptor may be that of a stranger who got the number since: look again now that it is held.
            Ok(held) if is_live_member(pid, group) => {
                let _ = tokio::time::timeout(LOOK_AGAIN, died(&held)).await;
            }
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            // No descriptor left: look again soon.
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

/// The guard's program as something that can be started, for as long as this exists.
#[derive(Debug)]
pub(super) struct Executable(PathBuf);

impl Executable {
    /// Puts it into memory, once, where no file system needs to have room for it (`memfd_create(2)`).
    pub(super) fn new(bytes: &[u8]) -> io::Result<Self> {
        static MEMORY: OnceLock<OwnedFd> = OnceLock::new();
        let memory = match MEMORY.get() {
            Some(memory) => memory,
            None => {
                let written = in_memory(bytes)?;
                MEMORY.get_or_init(|| written)
            }
        };
        // The descriptor is closed on exec, but only after the kernel has opened what it names.
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

/// Kills every process with this entry in its environment, until there is none, and waits for their ends; after a while
/// it gives up. Who has it was started by us or by one of ours, whatever it has done to its parents since.
pub(super) fn kill_marked(mark: &str) {
    // What the kernel holds, as for a disk that does not answer, is not waited for without end.
    let deadline = Instant::now() + KILLING;
    // One look is not enough for a process that hands on to another all the time: it shows no environment during
    // execve(2), and may be gone when its turn comes.
    const EMPTY_LOOKS: u32 = 20;
    let mut empty = 0;
    // Each look kills what the one before has started in the meantime; nobody forks faster for ever.
    while empty < EMPTY_LOOKS && Instant::now() < deadline {
        // The youngest first, since they are the quickest to be gone.
        let mut pids: Vec<_> = pids().collect();
        pids.sort_unstable_by_key(|pid| std::cmp::Reverse(pid.as_raw_nonzero()));
        let mut marked = Vec::new();
        for process in pids.into_iter().filter_map(|pid| hold_marked(pid, mark)) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            marked.push(process);
        }
        empty = if marked.is_empty() { empty + 1 } else { 0 };
        for process in &marked {
            let patience = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], patience.as_ref());
        }
    }
}

fn hold_marked(pid: Pid, mark: &str) -> Option<OwnedFd> {
    // Held first and read then: had the number changed hands in between, the environment would be a stranger's.
    let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()).then_some(held)
}

fn pids() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
}

fn open(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let held = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    #[expect(unsafe_code, reason = "tokio cannot know that the descriptor stays the same")]
    // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and `AsyncFd` owns it.
    let held = unsafe { AsyncFd::register_with_interest(held, Interest::READABLE) };
    Ok(held?)
}

async fn died(held: &AsyncFd<OwnedFd>) {
    // An error means that the runtime shuts down, and with it the task that would act on the answer.
    let _ = held.readable().await;
}

fn is_live_member(pid: Pid, group: Pid) -> bool {
    // Gone since, or another user's with hidepid: not ours.
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) else { return false };
    parse_stat(&stat)
        .is_some_and(|(state, pgrp)| pgrp == group.as_raw_nonzero().get() && !matches!(state, 'Z' | 'X'))
}

/// State and process group of a line of `/proc/PID/stat` (`proc_pid_stat(5)`): the name in parentheses before them may
/// hold anything, parentheses included.
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
    fn a_name_cannot_forge_the_fields_behind_it() {
        assert_eq!(parse_stat("7 (cat) S 1 7 7 0 -1"), Some(('S', 7)));
        assert_eq!(parse_stat("7 (a) Z 1 9 (b)) R 1 42 7 0"), Some(('R', 42)));
        assert_eq!(parse_stat("7 (cat"), None);
    }
}
