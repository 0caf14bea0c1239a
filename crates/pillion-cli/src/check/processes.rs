//! The processes of a run, as `/proc` shows them (Linux).

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::run::Run;

/// A process of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// Its name, as `ps` shows it.
    pub(super) name: String,
}

/// What `/proc/PID/stat` says.
#[derive(Debug)]
struct Stat {
    name: String,
    parent: u32,
    zombie: bool,
}

/// The processes of a run that are alive: the program, and all that it started, also those whose parents have ended. They are
/// the descendants of the guard, which adopts orphans (`PR_SET_CHILD_SUBREAPER`), without the holder.
pub(super) fn of_run(run: &Run) -> io::Result<Vec<Process>> {
    let all = all()?;
    let (program, holder) = (run.pid(), run.holder());
    let guard = holder.and_then(|holder| all.get(&holder)).map(|stat| stat.parent);
    // Without a guard, the holder is a child of this process, and so are those of other runs.
    let guard = guard.filter(|guard| *guard != std::process::id());
    let belongs = |pid: u32| {
        let (mut ancestor, mut steps) = (pid, 0);
        loop {
            if Some(ancestor) == program || Some(ancestor) == guard {
                return true;
            }
            match all.get(&ancestor) {
                // The bound ends a walk through numbers that were used again meanwhile.
                Some(stat) if stat.parent != 0 && steps < 100 => (ancestor, steps) = (stat.parent, steps + 1),
                _ => return false,
            }
        }
    };
    let alive = all.iter().filter(|(pid, stat)| {
        !stat.zombie && Some(**pid) != holder && Some(**pid) != guard && belongs(**pid)
    });
    Ok(alive.map(|(pid, stat)| Process { pid: *pid, name: stat.name.clone() }).collect())
}

/// The longest line of processes of a run, each started by the one before it, that execute the same program.
pub(super) fn generations(run: &Run) -> usize {
    let (Ok(all), Ok(processes)) = (all(), of_run(run)) else { return 0 };
    let executes: BTreeMap<u32, PathBuf> = processes
        .iter()
        .filter_map(|process| Some((process.pid, fs::read_link(format!("/proc/{}/exe", process.pid)).ok()?)))
        .collect();
    let line = |(pid, program): (&u32, &PathBuf)| {
        let parent = |pid: &u32| all.get(pid).map(|stat| stat.parent).filter(|it| executes.contains_key(it));
        // The bound ends a walk through numbers that were used again meanwhile.
        let ancestors = std::iter::successors(Some(*pid), parent).take(100);
        ancestors.filter(|ancestor| executes.get(ancestor) == Some(program)).count()
    };
    executes.iter().map(line).max().unwrap_or_default()
}

fn all() -> io::Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        all.extend(stat(pid).map(|stat| (pid, stat)));
    }
    Ok(all)
}

/// Reads `PID (NAME) STATE PARENT …`; the name may contain anything
/// (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
fn stat(pid: u32) -> Option<Stat> {
    let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let (start, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    Some(Stat { name: start.split_once('(')?.1.to_owned(), parent: fields.next()?.parse().ok()?, zombie })
}

/// What the kernel shows of the start of a process.
#[derive(Debug)]
pub(super) struct StartStrings {
    pub(super) arguments: Vec<u8>,
    pub(super) environment: Vec<u8>,
}

/// How long a process may take to execute its program. It is a few instructions, unless the machine is busy.
const EXECUTE_LIMIT: Duration = Duration::from_secs(10);

/// The arguments and the environment of a process; empty if it has ended.
///
/// `execve(2)` continues a parent that waits in `vfork(2)` before it has set the two, and `/proc` shows both as empty until then. A
/// program that runs has at least one argument.
pub(super) fn start_strings(process: &Process) -> StartStrings {
    let executable = format!("/proc/{}/exe", process.pid);
    let deadline = Instant::now() + EXECUTE_LIMIT;
    loop {
        // In this order: the arguments are shown when both are set.
        let [arguments, environment] = ["cmdline", "environ"].map(|file| read(process, file));
        // A process that has ended has no program.
        if !arguments.is_empty() || fs::read_link(&executable).is_err() || Instant::now() > deadline {
            return StartStrings { arguments, environment };
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The bytes of a file in `/proc/PID`; empty if the process has ended.
fn read(process: &Process, file: &str) -> Vec<u8> {
    fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default()
}

/// The memory of these processes in bytes; memory that several processes share counts in parts
/// (`Pss`, <https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html>).
pub(super) fn memory(processes: &[Process]) -> Option<u64> {
    let mut sum = 0;
    for process in processes {
        let text = String::from_utf8(read(process, "smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        sum += line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024;
    }
    Some(sum)
}
