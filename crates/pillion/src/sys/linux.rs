//! Linux: pidfds and `/proc`.

mod connections;
pub(crate) mod credentials;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "neither std nor rustix starts a process so")]
pub(super) mod light_guard;
mod looks;
pub(crate) mod port_owners;
pub(crate) mod port_range;
pub(crate) mod run_processes;
#[expect(unsafe_code, reason = "rustix offers no safe mapping")]
pub(crate) mod shared_memory;
mod sock_diag;
mod tcp_table;
mod tree_usage;

use std::{
    env, fmt, fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pillion_guard::proc_stat::ProcStat;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags},
    process::{Pid, PidfdFlags, Resource, Signal, getrlimit, pidfd_open, pidfd_send_signal},
};
use tempfile::TempDir;
use tokio::io::{Interest, unix::AsyncFd};

use super::Known;
pub(super) use credentials::peer;

/// How long [`sweep`] goes on at most.
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

/// Whether that process executes the file that this process executes, by whatever name.
pub(super) fn executes_this_program(pid: Pid) -> bool {
    let file = |process: String| fs::metadata(format!("/proc/{process}/exe")).map(|it| (it.dev(), it.ino()));
    let other = file(pid.as_raw_nonzero().get().to_string());
    file("self".to_owned()).is_ok_and(|own| other.is_ok_and(|other| other == own))
}

/// The processor time of a process, which may be a zombie, and of the children that it has reaped.
pub(super) fn cpu_time(pid: Pid) -> Option<Duration> {
    let stat = ProcStat::read(pid.as_raw_nonzero().get()).filter(|_| proc_is_ours())?;
    Some(duration_of(stat.ticks))
}

/// The time of so many clock ticks of `/proc`: units of `USER_HZ`, which is 100 on every architecture of Rust's std (time(7)).
fn duration_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// The largest resident set of a process until now, in bytes.
pub(super) fn peak_memory(pid: u32) -> Option<u64> {
    proc_is_ours().then(|| status_bytes(pid, "VmHWM:").ok().flatten())?
}

/// The file of this name about a process. The name of the process in it may be no UTF-8: the kernel cuts names after 15 bytes
/// (`PR_SET_NAME(2const)`).
fn proc_text(pid: impl fmt::Display, file: &str) -> io::Result<String> {
    fs::read(format!("/proc/{pid}/{file}")).map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// A size in the status of a process, in bytes (`proc_pid_status(5)`). `None` for a process that is about to end, whose memory is gone.
fn status_bytes(pid: impl fmt::Display, name: &str) -> io::Result<Option<u64>> {
    let kib = |line: &str| line.strip_prefix(name)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok();
    Ok(proc_text(pid, "status")?.lines().find_map(kib).map(|kib| kib * 1024))
}

/// The live processes of a group, without its leader.
pub(super) fn members(group: Pid) -> io::Result<Vec<Pid>> {
    if !proc_is_ours() {
        return Err(io::Error::other("/proc is missing or belongs to another PID namespace"));
    }
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
pub(super) struct GuardProgram {
    path: PathBuf,
    /// Deleted on drop. A running guard is not affected.
    _directory: Option<TempDir>,
}

/// Stores the guard's program in a place.
type Store = fn(&[u8]) -> io::Result<GuardProgram>;

/// The places to store the guard's program in, the best first. Memory needs `/proc`, and `vm.memfd_noexec` may forbid it. A file
/// needs space, and a file system that is not mounted with `noexec`.
pub(super) const PLACES: [Store; 3] =
    [GuardProgram::in_memory, GuardProgram::in_runtime_directory, GuardProgram::in_temporary_directory];

impl GuardProgram {
    /// Copies the program to memory. No file system needs space for it.
    fn in_memory(bytes: &[u8]) -> io::Result<Self> {
        Self::of_memory(full_guard(bytes)?)
    }

    fn of_memory(memory: &OwnedFd) -> io::Result<Self> {
        // The descriptor is closed on exec, but the kernel resolves the path first.
        let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        if !path.exists() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "/proc is not mounted"));
        }
        Ok(Self { path, _directory: None })
    }

    fn in_runtime_directory(bytes: &[u8]) -> io::Result<Self> {
        let base = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        Self::in_file(bytes, &base.ok_or_else(|| io::Error::other("XDG_RUNTIME_DIR is not set"))?)
    }

    fn in_temporary_directory(bytes: &[u8]) -> io::Result<Self> {
        Self::in_file(bytes, &env::temp_dir())
    }

    /// Writes the program to a file in a directory that other users cannot enter.
    fn in_file(bytes: &[u8], base: &Path) -> io::Result<Self> {
        check_file_size_limit(bytes)?;
        let directory = tempfile::Builder::new()
            .prefix("pillion-guard-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let path = directory.path().join("pillion-guard");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path)?;
        file.write_all(bytes)?;
        Ok(Self { path, _directory: Some(directory) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The full guard, in memory.
fn full_guard(program: &[u8]) -> io::Result<&'static OwnedFd> {
    static FULL: OnceLock<OwnedFd> = OnceLock::new();
    in_memory(&FULL, "pillion-guard", program)
}

/// Copies the program to memory, once per process (`memfd_create(2)`).
fn in_memory(memory: &'static OnceLock<OwnedFd>, name: &str, bytes: &[u8]) -> io::Result<&'static OwnedFd> {
    /// Held by the one thread that writes; the others wait for it.
    static WRITING: Mutex<()> = Mutex::new(());
    if let Some(memory) = memory.get() {
        return Ok(memory);
    }
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(memory) = memory.get() {
        return Ok(memory);
    }
    let written = write_to_memory(name, bytes)?;
    Ok(memory.get_or_init(|| written))
}

fn write_to_memory(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    check_file_size_limit(bytes)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // With vm.memfd_noexec=1, memory can be executed only if the flag asks for it. Kernels before 6.3 do not know the flag.
    let memory = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        created => created?,
    };
    let mut memory = fs::File::from(memory);
    memory.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory.into())
}

/// Fails if the limit for the size of files is too low. A write beyond it would kill this process by SIGXFSZ (setrlimit(2)),
/// and memory counts as a file.
fn check_file_size_limit(bytes: &[u8]) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < bytes.len() as u64 => Err(io::Error::other(format!(
            "the limit for the size of files is {limit} bytes (ulimit -f), and the guard needs {}",
            bytes.len()
        ))),
        _ => Ok(()),
    }
}

/// Whether `/proc` shows the processes of our own PID namespace. In a sandbox it may be missing, or be that of an outer
/// namespace, where our process ids mean other processes (`pid_namespaces(7)`).
fn proc_is_ours() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    *OURS.get_or_init(|| {
        let own = std::process::id().to_string();
        fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.as_str())
    })
}

/// What a guard cannot do here.
pub(super) fn guard_limitation() -> Option<String> {
    (!proc_is_ours()).then(|| {
        "/proc is missing or belongs to another PID namespace; if the guard is killed, its other processes survive".to_owned()
    })
}

/// What identifies this child of that process besides its id: its start time. `None` if there is no such child: it has been reaped, or
/// `/proc` shows another PID namespace.
pub(super) fn identity_of_child(pid: Pid, parent: Pid) -> Option<u64> {
    let stat = ProcStat::read(pid.as_raw_nonzero().get())?;
    (stat.parent == parent.as_raw_nonzero().get()).then_some(stat.start_time)
}

/// Whether this process, identified as a guard reports it, exists.
pub(super) fn exists(pid: i32, start_time: u64) -> bool {
    ProcStat::read(pid).is_some_and(|stat| stat.start_time == start_time)
}

/// Kills every process that is known, and waits for their deaths, until none is left or
/// [`SWEEP_TIMEOUT`] is over. Blocks.
pub(super) fn sweep(known: &Known) {
    if !proc_is_ours() {
        return;
    }
    // A process in uninterruptible sleep may take forever to die.
    let deadline = Instant::now() + SWEEP_TIMEOUT;
    // One scan can miss a process that keeps forking and exiting: it has no environment during execve(2), and may be gone
    // before the scan reaches it.
    const EMPTY_SCANS: u32 = 20;
    // Such a process is the newest one most of the time, and a look at the newest ones is a hundred times quicker than a scan.
    const LOOKS_AT_NEWEST: u32 = 50;
    let mut empty = 0;
    // Each scan kills what the survivors of the previous one have forked.
    while empty < EMPTY_SCANS && Instant::now() < deadline {
        let mut found = Vec::new();
        let mut kill = |process: OwnedFd| {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            found.push(process);
        };
        let newest = (0..LOOKS_AT_NEWEST).flat_map(|_| newest_pids());
        newest.filter_map(|pid| open_if_marked(pid, &known.marker)).for_each(&mut kill);
        // The newest first: they are the most likely to exit before the scan reaches them. For the same reason each is killed
        // as soon as it is found, and the marker is looked for before anything else.
        let mut pids: Vec<_> = pids().collect();
        pids.sort_unstable_by_key(|pid| std::cmp::Reverse(pid.as_raw_nonzero()));
        pids.iter().filter_map(|pid| open_if_marked(*pid, &known.marker)).for_each(&mut kill);
        pids.into_iter().filter_map(|pid| open_if_known(pid, known)).for_each(&mut kill);
        empty = if found.is_empty() { empty + 1 } else { 0 };
        for process in &found {
            let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref());
        }
    }
}

/// A pidfd of this process if it has the marker in its environment.
fn open_if_marked(pid: Pid, marker: &str) -> Option<OwnedFd> {
    // Opens the pidfd before it reads the environment: in the other order, the pidfd could belong to a process that reused
    // the id.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes()).then_some(pidfd)
}

/// A pidfd of this process if it is alive, and in the session or remembered.
fn open_if_known(pid: Pid, known: &Known) -> Option<OwnedFd> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let stat = ProcStat::read(pid.as_raw_nonzero().get())?;
    let is_known = known.session.is_some_and(|known| known.as_raw_nonzero().get() == stat.session)
        || known.remembered.contains(&(stat.pid, stat.start_time));
    (is_known && is_alive(&stat)).then_some(pidfd)
}

/// The process ids that were given out last, in the last field of `/proc/loadavg` (`proc_loadavg(5)`).
fn newest_pids() -> impl Iterator<Item = Pid> {
    const COUNT: i32 = 4;
    let last =
        fs::read_to_string("/proc/loadavg").ok().and_then(|it| it.split_whitespace().last()?.parse().ok());
    last.into_iter()
        .flat_map(|last: i32| (last.saturating_sub(COUNT - 1)..=last).rev())
        .filter_map(Pid::from_raw)
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

fn is_alive(stat: &ProcStat) -> bool {
    !matches!(stat.state, 'Z' | 'X')
}

fn is_live_member(pid: Pid, group: Pid) -> bool {
    // Not readable: it has exited, or it belongs to another user under hidepid.
    ProcStat::read(pid.as_raw_nonzero().get())
        .is_some_and(|stat| stat.group == group.as_raw_nonzero().get() && is_alive(&stat))
}
