//! Which processes hold the sockets that listen on a port.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    fs, io,
    num::NonZeroU16,
};

use pillion_guard::{names, proc_stat::ProcStat};
use rustix::process::Pid;

use super::{
    ExitWatch,
    tcp_table::{self, Listening},
};

/// The process that listens on this port of 127.0.0.1: its name and process id, if the system shows them. Reads `/proc`, which takes
/// milliseconds: call it off the runtime.
pub(crate) fn listener_on(port: NonZeroU16) -> Option<String> {
    super::proc_is_ours().then(|| owner(&tcp_table::listening_on_loopback(port), |_| true)).flatten()
}

/// A guard whose app has ended, and which stops the app's sidecar.
#[derive(Debug)]
pub(crate) struct Cleanup(ExitWatch);

impl Cleanup {
    /// Waits until nothing of the sidecar is left. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.0.changed().await;
    }
}

/// The guard that stops the server on this port, if the app of that server has ended. Reads `/proc`, which takes milliseconds: call it off
/// the runtime, in its context.
pub(crate) fn cleanup_on(port: NonZeroU16) -> Option<Cleanup> {
    if !super::proc_is_ours() {
        return None;
    }
    let mut pid = owners(&tcp_table::listening_on_loopback(port), |_| true).next()?;
    loop {
        pid = ProcStat::read(pid)?.parent;
        let guard = Pid::from_raw(pid)?;
        if is_cleanup(pid) {
            let exit = ExitWatch::new(guard).ok()?;
            // Else it has ended, and the kernel may have reused its number.
            return is_cleanup(pid).then_some(Cleanup(exit));
        }
    }
}

fn is_cleanup(pid: i32) -> bool {
    let name = super::proc_text(pid, "comm");
    name.is_ok_and(|name| name.trim_end().as_bytes() == names::CLEANUP.to_bytes())
}

/// A process that holds one of these sockets, among the candidates.
pub(super) fn owner(sockets: &[Listening], candidate: impl Fn(i32) -> bool) -> Option<String> {
    owners(sockets, candidate).next().map(describe)
}

/// The processes that hold one of these sockets, among the candidates.
fn owners(sockets: &[Listening], candidate: impl Fn(i32) -> bool) -> impl Iterator<Item = i32> {
    let pids = super::pids().map(|pid| pid.as_raw_nonzero().get()).filter(move |pid| candidate(*pid));
    pids.filter(move |pid| !Held::by(inodes(sockets), [*pid]).inodes.is_empty())
}

/// Which of some sockets are open in some processes.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) inodes: HashSet<u64>,
    /// Whether the descriptors of some process could not be read.
    pub(super) unreadable: bool,
}

impl Held {
    pub(super) fn by(inodes: impl Iterator<Item = u64>, pids: impl IntoIterator<Item = i32>) -> Self {
        let names: HashMap<_, _> =
            inodes.map(|inode| (OsString::from(format!("socket:[{inode}]")), inode)).collect();
        let mut held = Self::default();
        for pid in pids {
            match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(entries) => {
                    for target in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
                        held.inodes.extend(names.get(target.as_os_str()));
                    }
                }
                // The process has ended: it serves nothing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => held.unreadable = true,
            }
        }
        held
    }

    /// Every one of the sockets: with `SO_REUSEPORT` the kernel may give the next connection to any of them.
    pub(super) fn all(&self, sockets: &[Listening]) -> bool {
        sockets.iter().all(|socket| self.inodes.contains(&socket.inode))
    }
}

pub(super) fn inodes(sockets: &[Listening]) -> impl Iterator<Item = u64> + '_ {
    sockets.iter().map(|socket| socket.inode)
}

/// A process as a person knows it: `nginx, process 4711`.
pub(super) fn describe(pid: i32) -> String {
    let name = super::proc_text(pid, "comm").unwrap_or_default();
    format!("{}, process {pid}", name.trim_end().escape_debug())
}
