//! The processes of a run, as `/proc` shows them: which of them serves a port.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    num::NonZeroU16,
};

use rustix::process::Pid;

use super::tcp_table::{self, Listening};
use crate::sys::PortOwner;

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
        let sockets = tcp_table::listening_on_loopback(port);
        if sockets.is_empty() {
            return PortOwner::Unknown;
        }
        // The leader first: it serves in most runs, and spares the search through every process.
        if Held::by(&sockets, [self.leader.as_raw_nonzero().get()]).all(&sockets) {
            return PortOwner::Run;
        }
        let table = process_table();
        let members = self.members(&table);
        let held = Held::by(&sockets, members.iter().copied());
        if held.all(&sockets) {
            return PortOwner::Run;
        }
        // A member of another user, as a setuid program, hides its descriptors: it may be the one that serves.
        if held.unreadable {
            return PortOwner::Unknown;
        }
        let others = table.keys().copied().filter(|pid| !members.contains(pid));
        let mut owners = others.filter(|pid| !Held::by(&sockets, [*pid]).inodes.is_empty());
        PortOwner::Other(owners.next().map(describe))
    }

    fn members(&self, table: &HashMap<i32, Process>) -> HashSet<i32> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, process) in table {
            children.entry(process.parent).or_default().push(*pid);
        }
        let root = self.root.as_raw_nonzero().get();
        let leader = self.leader.as_raw_nonzero().get();
        let mut members: HashSet<i32> =
            table.iter().filter(|(_, process)| process.group == leader).map(|(pid, _)| *pid).collect();
        members.insert(leader);
        let mut next = vec![root];
        while let Some(parent) = next.pop() {
            for child in children.remove(&parent).into_iter().flatten() {
                members.insert(child);
                next.push(child);
            }
        }
        members
    }
}

/// What `/proc/PID/stat` says of a process (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    group: i32,
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        // The name in parentheses may hold anything, parentheses included.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
        Some(Self { parent: i32::try_from(number(1)?).ok()?, group: i32::try_from(number(2)?).ok()? })
    }
}

fn process_table() -> HashMap<i32, Process> {
    super::pids()
        .filter_map(|pid| {
            let pid = pid.as_raw_nonzero().get();
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, Process::parse(&String::from_utf8_lossy(&stat))?))
        })
        .collect()
}

/// Which of some sockets are open in some processes.
#[derive(Debug, Default)]
struct Held {
    inodes: HashSet<u64>,
    /// Whether the descriptors of some process could not be read.
    unreadable: bool,
}

impl Held {
    fn by(sockets: &[Listening], pids: impl IntoIterator<Item = i32>) -> Self {
        let names: Vec<_> =
            sockets.iter().map(|socket| (format!("socket:[{}]", socket.inode), socket.inode)).collect();
        let mut held = Self::default();
        for pid in pids {
            match fs::read_dir(format!("/proc/{pid}/fd")) {
                Ok(entries) => {
                    for target in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
                        let found = names.iter().find(|(name, _)| target.as_os_str() == name.as_str());
                        held.inodes.extend(found.map(|(_, inode)| *inode));
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
    fn all(&self, sockets: &[Listening]) -> bool {
        sockets.iter().all(|socket| self.inodes.contains(&socket.inode))
    }
}

/// A process as a person knows it: `nginx, process 4711`.
fn describe(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{}, process {pid}", name.trim_end().escape_debug())
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

    #[test]
    fn a_process_name_cannot_forge_the_fields_behind_it() {
        let stat = "7 (a) S 1 9 (b)) R 2 42 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5";
        assert_eq!(Process::parse(stat), Some(Process { parent: 2, group: 42 }));
        assert_eq!(Process::parse("7 (cat"), None);
        assert_eq!(Process::parse("7 (cat) S 1 2"), None);
    }

    /// A shell of its own group that holds `inherited` listeners or none, and has a child that holds what it holds.
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
        let table = process_table();
        let members = run.members(&table);
        assert!(members.len() >= 2, "{members:?}");
        assert!(members.iter().all(|pid| table[pid].group == run.leader.as_raw_nonzero().get()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
