//! The processes of a run, as `/proc` shows them: which of them serve a port, and how much they work.

use std::{
    collections::{HashMap, HashSet},
    fs, future, io,
    net::SocketAddr,
    num::NonZeroU16,
    path::Path,
    sync::OnceLock,
    task::Poll,
};

use pillion_guard::proc_stat::ProcStat;
use rustix::process::Pid;

use super::{
    connections,
    looks::{self, Traffic},
    port_owners::{Held, describe, inodes, owner},
    tcp_table::{self, Listening},
};
use crate::sys::{Activity, PortOwner};

/// Finds the processes of one run: the descendants of its root, and the members of its process group.
///
/// The root is the guard, which adopts what daemonises itself (`PR_SET_CHILD_SUBREAPER`), or the leader where no guard runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunProcesses {
    root: Pid,
    leader: Pid,
}

impl RunProcesses {
    pub(crate) fn new(root: Pid, leader: Pid) -> Self {
        Self { root, leader }
    }

    /// Whether the run listens on this port of 127.0.0.1. Reads `/proc`, which takes milliseconds: call it off the runtime.
    pub(crate) fn port_owner(&self, port: NonZeroU16) -> PortOwner {
        if super::proc_is_ours() { looks::find_owner(|| self.seen_owner(port)) } else { PortOwner::Unknown }
    }

    /// Whether the run listens on this port, by one look.
    fn seen_owner(&self, port: NonZeroU16) -> PortOwner {
        let sockets = tcp_table::listening_on_loopback(port);
        if sockets.is_empty() {
            return PortOwner::Unknown;
        }
        // The leader first: it serves in most runs, and spares the search through every process.
        if Held::by(inodes(&sockets), [self.leader.as_raw_nonzero().get()]).all(&sockets) {
            return PortOwner::Run;
        }
        let members = self.members();
        let held = Held::by(inodes(&sockets), members.iter().copied());
        if held.all(&sockets) {
            return PortOwner::Run;
        }
        // A member of another user, as a setuid program, hides its descriptors: it may be the one that serves.
        if held.unreadable {
            return PortOwner::Unknown;
        }
        PortOwner::Other(owner(&sockets, |pid| !members.contains(&pid)))
    }

    /// Where the live processes of the run accept TCP connections, at most five addresses. Reads `/proc`, which takes milliseconds:
    /// call it off the runtime.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        if !super::proc_is_ours() {
            return Vec::new();
        }
        let sockets = tcp_table::all_listening();
        let held = Held::by(inodes(&sockets), self.members());
        let ours = sockets.iter().filter(|socket| held.inodes.contains(&socket.inode));
        let mut places: Vec<_> = ours.map(Listening::place).collect();
        places.sort_unstable();
        places.dedup();
        places.truncate(5);
        places
    }

    /// What the live processes of the run do; on connections to `port` only if one is given, because that can take milliseconds.
    /// Connections from the ports `probes` are not those of clients. Reads a few files for each process: call it off the runtime.
    pub(crate) fn activity(&self, port: Option<NonZeroU16>, probes: &[u16]) -> Activity {
        if !super::proc_is_ours() {
            return Activity::default();
        }
        let processes = self.processes();
        let ticks = processes.iter().map(|(_, process)| process.ticks).sum();
        let cpu_time = (!processes.is_empty()).then(|| super::duration_of(ticks));
        let look = |port| looks::find_request(|| self.traffic(port, probes));
        let Traffic { has_request, last_sent } = port.map(look).unwrap_or_default();
        Activity { cpu_time, has_request, last_sent }
    }

    /// What the connections to this port show, by one look.
    fn traffic(&self, port: NonZeroU16, probes: &[u16]) -> io::Result<Traffic> {
        let connections = connections::accepted(port)?;
        if connections.is_empty() {
            return Ok(Traffic::default());
        }
        // A stopped process holds its connections, but does not work on them.
        let running = self.processes().into_iter().filter(|(_, process)| process.state != 'T');
        let held =
            Held::by(connections.iter().map(|connection| connection.inode), running.map(|(pid, _)| pid));
        let of_clients = connections.iter().filter(|connection| {
            // A process of another user, as a setuid program, hides its descriptors.
            !probes.contains(&connection.client)
                && (held.unreadable || held.inodes.contains(&connection.inode))
        });
        Ok(Traffic {
            has_request: of_clients.clone().any(|connection| connection.owes_response),
            last_sent: of_clients.filter_map(|connection| connection.last_sent).min(),
        })
    }

    /// The live processes of the run, and what they do.
    fn processes(&self) -> Vec<(i32, ProcStat)> {
        self.members().into_iter().filter_map(|pid| Some((pid, ProcStat::read(pid)?))).collect()
    }

    /// The processes that hold the listening socket of the port now, without the leader. Reads a few files for each process
    /// of the run. Needs the context of a tokio runtime with I/O.
    pub(crate) fn workers(&self, port: NonZeroU16) -> Workers {
        if !super::proc_is_ours() {
            return Workers(Vec::new());
        }
        let leader = self.leader.as_raw_nonzero().get();
        let others: Vec<_> = self.members().into_iter().filter(|pid| *pid != leader).collect();
        if others.is_empty() {
            return Workers(Vec::new());
        }
        let sockets = tcp_table::listening_on_loopback(port);
        let workers = others.into_iter().filter(|pid| !Held::by(inodes(&sockets), [*pid]).inodes.is_empty());
        let watch = |pid| Some((pid, super::ExitWatch::new(Pid::from_raw(pid)?).ok()?));
        Workers(workers.filter_map(watch).collect())
    }

    /// The live processes of the run besides its leader, at most five: name and process id. Reads a few files for each process.
    pub(crate) fn others(&self) -> Vec<String> {
        let mut pids: Vec<_> = self.members().into_iter().collect();
        pids.sort_unstable();
        let leader = self.leader.as_raw_nonzero().get();
        // A zombie has no executable.
        let lives = |pid: &i32| *pid != leader && fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        pids.into_iter().filter(lives).take(5).map(describe).collect()
    }

    /// The process id of the guard, if one runs.
    pub(super) fn guard(self) -> Option<i32> {
        (self.root != self.leader).then(|| self.root.as_raw_nonzero().get())
    }

    /// Whether this live process is one of the run. Reads one file for each of its ancestors: call it off the runtime.
    ///
    /// Looks up from the process and not down from the root: a list of children may miss some of them while others end
    /// (`proc_tid_children(5)`).
    pub(crate) fn contains(&self, pid: i32) -> bool {
        let (root, leader) = (self.root.as_raw_nonzero().get(), self.leader.as_raw_nonzero().get());
        if pid == leader {
            return true;
        }
        // An ancestor can end between two looks. Its children then have another parent.
        const LOOKS: u32 = 10;
        super::proc_is_ours() && (0..LOOKS).any(|_| descends_from(pid, root, leader))
    }

    /// Its processes, without the guard; some may be dead.
    pub(super) fn members(&self) -> HashSet<i32> {
        let (root, leader) = (self.root.as_raw_nonzero().get(), self.leader.as_raw_nonzero().get());
        let mut members = HashSet::from([leader]);
        if self.root == self.leader || !children_are_listed() {
            // Without a guard a process may have left the tree: its group still tells.
            let table = process_table();
            members.extend(table.iter().filter(|(_, process)| process.group == leader).map(|(pid, _)| *pid));
            add_descendants(root, &mut members, |parent| {
                table.iter().filter(|(_, process)| process.parent == parent).map(|(pid, _)| *pid).collect()
            });
        } else {
            add_descendants(root, &mut members, children);
        }
        members
    }
}

/// Whether the process is a descendant of the root, or in the group of the leader, which it may be without a guard.
fn descends_from(mut pid: i32, root: i32, leader: i32) -> bool {
    while let Some(stat) = ProcStat::read(pid) {
        if stat.group == leader || stat.parent == root {
            return true;
        }
        pid = stat.parent;
    }
    false
}

/// Processes that serve a port, each with a descriptor that tells of its end.
#[derive(Debug)]
pub(crate) struct Workers(Vec<(i32, super::ExitWatch)>);

impl Workers {
    /// Waits until one of them has ended, and returns its process id; waits for ever if the list is empty. Cancel safe.
    pub(crate) async fn ended(&self) -> u32 {
        future::poll_fn(|context| {
            let ended = self.0.iter().find(|(_, exit)| exit.poll_changed(context).is_ready());
            ended.map_or(Poll::Pending, |(pid, _)| Poll::Ready(pid.unsigned_abs()))
        })
        .await
    }
}

/// Adds what descends from `root`, without `root` itself.
fn add_descendants(root: i32, members: &mut HashSet<i32>, children: impl Fn(i32) -> Vec<i32>) {
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for child in children(parent) {
            // A member found by its group has descendants, too.
            members.insert(child);
            next.push(child);
        }
    }
}

/// The children of a process, those of each of its threads (`proc_tid_children(5)`).
fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether the kernel lists children (`CONFIG_PROC_CHILDREN`).
fn children_are_listed() -> bool {
    static LISTED: OnceLock<bool> = OnceLock::new();
    *LISTED.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

fn process_table() -> HashMap<i32, ProcStat> {
    super::pids()
        .filter_map(|pid| {
            let pid = pid.as_raw_nonzero().get();
            Some((pid, ProcStat::read(pid)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use super::*;

    /// A shell that leads its own process group and runs `script`, which must write a line.
    fn run(script: &str) -> (std::process::Child, RunProcesses) {
        #[expect(clippy::disallowed_methods, reason = "the test owns the child and reaps it")]
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = Pid::from_child(&child);
        (child, RunProcesses::new(pid, pid))
    }

    #[test]
    fn a_process_whose_name_is_not_utf_8_is_described_and_measured() {
        let (mut child, _) = run(r"printf 'cut\303' > /proc/self/comm; echo up; read line");
        assert_eq!(describe(child.id().cast_signed()), format!("cut\u{fffd}, process {}", child.id()));
        assert!(crate::sys::peak_memory(child.id()).is_some_and(|bytes| bytes > 0));
        assert!(
            crate::sys::linux::status_bytes(child.id(), "VmRSS:").unwrap().is_some_and(|bytes| bytes > 0)
        );
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_port_of_another_process_is_not_the_runs() {
        let (mut child, run) = run("echo up; read line");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
        let PortOwner::Other(Some(owner)) = run.port_owner(port) else {
            panic!("{:?}", run.port_owner(port))
        };
        assert!(owner.ends_with(&format!("process {}", std::process::id())), "{owner}");
        let ours = RunProcesses::new(rustix::process::getpid(), rustix::process::getpid());
        assert_eq!(ours.port_owner(port), PortOwner::Run);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn the_descendants_of_the_root_and_the_members_of_the_group_are_the_run() {
        let (mut child, run) = run("sleep 1000 & echo up; read line; kill %1; kill $!");
        let members = run.members();
        assert!(members.len() >= 2, "{members:?}");
        let leader = run.leader.as_raw_nonzero().get();
        assert!(members.iter().all(|pid| ProcStat::read(*pid).unwrap().group == leader), "{members:?}");
        let mut listed = HashSet::from([leader]);
        add_descendants(leader, &mut listed, children);
        assert!(!children_are_listed() || listed == members, "{listed:?} {members:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn work_counts_as_the_runs() {
        let me = RunProcesses::new(rustix::process::getpid(), rustix::process::getpid());
        let before = me.activity(None, &[]).cpu_time.unwrap();
        // Ends once the kernel has counted a tick of this loop.
        while me.activity(None, &[]).cpu_time.unwrap() <= before {}
    }
}
