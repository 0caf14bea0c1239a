//! What the processes of a run use, as `/proc` shows it.

use std::{fs, io, path::Path, sync::OnceLock};

use pillion_guard::proc_stat::ProcStat;
use rustix::io::Errno;

use super::run_processes::RunProcesses;
use crate::{status::MemoryKind, sys::TreeUsage};

impl RunProcesses {
    /// Whether [`usage`](Self::usage) tells anything here.
    pub(crate) fn is_measured() -> bool {
        super::proc_is_ours()
    }

    /// What the run uses now. Reads a few files for each process, whose cost grows with its memory: call it off the runtime.
    pub(crate) fn usage(self) -> TreeUsage {
        if !super::proc_is_ours() {
            return TreeUsage::default();
        }
        // The processes that the guard has reaped, read first: one that ends meanwhile is missing rather than counted twice.
        let mut ticks = self.guard().and_then(ProcStat::read).map_or(0, |guard| guard.reaped_ticks);
        let mut processes = 0;
        let (mut memory, mut descriptors) = (Some((0, MemoryKind::Proportional)), Some(0));
        for pid in self.parents_first() {
            let Some(stat) = ProcStat::read(pid) else { continue };
            ticks += stat.ticks;
            if !super::is_alive(&stat) {
                continue;
            }
            processes += 1;
            add(&mut memory, memory_of(proportional_memory(pid), || resident_memory(pid)), add_memory);
            add(&mut descriptors, open_descriptors(pid), u64::saturating_add);
        }
        TreeUsage {
            cpu_time: Some(super::duration_of(ticks)),
            memory,
            processes: Some(processes),
            processors: processors(),
            descriptors,
        }
    }

    /// Its processes, each before those that it has started: a child that ends meanwhile, and whose time is then a part of its parent's, is
    /// missing rather than counted twice.
    fn parents_first(self) -> Vec<i32> {
        let mut started: Vec<_> = self.members().into_iter().filter_map(ProcStat::read).collect();
        started.sort_unstable_by_key(|stat| (stat.start_time, stat.pid));
        started.into_iter().map(|stat| stat.pid).collect()
    }
}

/// The memory of a process, and what it counts: the resident one only of a process that hides the proportional one.
fn memory_of(
    proportional: io::Result<u64>,
    resident: impl FnOnce() -> io::Result<u64>,
) -> io::Result<(u64, MemoryKind)> {
    match proportional {
        Ok(bytes) => Ok((bytes, MemoryKind::Proportional)),
        Err(error) if has_ended(&error) => Err(error),
        Err(_) => Ok((resident()?, MemoryKind::Resident)),
    }
}

/// The sum is proportional only if each part is.
fn add_memory((sum, kind): (u64, MemoryKind), (bytes, of_process): (u64, MemoryKind)) -> (u64, MemoryKind) {
    let kind = if of_process == MemoryKind::Resident { of_process } else { kind };
    (sum.saturating_add(bytes), kind)
}

/// Adds a figure of a process. One that has ended adds nothing; one whose figure is hidden makes the sum unknown.
fn add<T: Copy>(sum: &mut Option<T>, figure: io::Result<T>, plus: impl FnOnce(T, T) -> T) {
    match figure {
        Ok(figure) => *sum = sum.map(|sum| plus(sum, figure)),
        Err(error) if has_ended(&error) => {}
        Err(_) => *sum = None,
    }
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// The proportional memory of a process, that in the swap included, in bytes.
fn proportional_memory(pid: i32) -> io::Result<u64> {
    // Linux 4.14. Without it the missing file says nothing about the process.
    static SHOWN: OnceLock<bool> = OnceLock::new();
    if !SHOWN.get_or_init(|| Path::new("/proc/self/smaps_rollup").exists()) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(proportional_of(&rollup))
}

fn proportional_of(rollup: &str) -> u64 {
    let kib = |line: &str| {
        let value = line.strip_prefix("Pss:").or_else(|| line.strip_prefix("SwapPss:"))?;
        value.trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    rollup.lines().filter_map(kib).sum::<u64>() * 1024
}

/// The resident memory of a process, in bytes.
fn resident_memory(pid: i32) -> io::Result<u64> {
    Ok(super::status_bytes(pid, "VmRSS:")?.unwrap_or_default())
}

/// How many processors the machine has now (cpusets(7): a list of numbers and ranges).
fn processors() -> Option<u32> {
    processors_of(&fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

fn processors_of(list: &str) -> Option<u32> {
    let ranges = list.trim_end().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        (last.parse::<u32>().ok()? + 1).checked_sub(first.parse().ok()?)
    });
    ranges.sum()
}

fn open_descriptors(pid: i32) -> io::Result<u64> {
    let folder = format!("/proc/{pid}/fd");
    // The size of the directory is their number since Linux 6.2. Reading it takes long for a process with many connections.
    let number = fs::metadata(&folder)?.len();
    if number > 0 { Ok(number) } else { Ok(fs::read_dir(folder)?.count() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_memory_includes_the_swap() {
        let rollup = "55ed-7ffc ---p 00000000 00:00 0 [rollup]\nRss:   1776 kB\nPss:                 233 kB\nPss_Anon: 116 kB\n\
                      Swap: 8 kB\nSwapPss:               4 kB\nLocked: 0 kB\n";
        assert_eq!(proportional_of(rollup), 237 * 1024);
        assert_eq!(proportional_of(""), 0);
    }

    #[test]
    fn the_resident_memory_is_known_where_the_proportional_one_is_hidden() {
        let me = std::process::id().cast_signed();
        let (proportional, resident) = (proportional_memory(me).unwrap(), resident_memory(me).unwrap());
        assert!(resident * 2 > proportional && resident > 100_000, "{proportional} {resident}");
    }

    #[test]
    fn a_hidden_figure_makes_the_sum_unknown_and_an_ended_process_does_not() {
        let mut sum = Some(1);
        let mut add = |figure: io::Result<u64>| {
            add(&mut sum, figure, u64::saturating_add);
            sum
        };
        assert_eq!(add(Ok(2)), Some(3));
        assert_eq!(add(Err(io::ErrorKind::NotFound.into())), Some(3));
        assert_eq!(add(Err(Errno::SRCH.into())), Some(3));
        assert_eq!(add(Err(io::ErrorKind::PermissionDenied.into())), None);
        assert_eq!(add(Ok(2)), None);
    }

    #[test]
    fn a_process_that_hides_its_memory_changes_no_figure_of_the_others() {
        use MemoryKind::{Proportional, Resident};
        let hidden = || Err(io::ErrorKind::PermissionDenied.into());
        let mut sum = Some((0, Proportional));
        let mut next = |proportional, resident: u64| {
            add(&mut sum, memory_of(proportional, || Ok(resident)), add_memory);
            sum
        };
        assert_eq!(next(Ok(100), 1_000), Some((100, Proportional)));
        assert_eq!(next(hidden(), 30), Some((130, Resident)));
        assert_eq!(next(Ok(100), 1_000), Some((230, Resident)));
        assert_eq!(next(Err(Errno::SRCH.into()), 1_000), Some((230, Resident)), "it has ended");
        assert!(memory_of(hidden(), hidden).is_err());
    }

    #[test]
    fn processors_are_listed_as_numbers_and_ranges() {
        assert_eq!(processors_of("0-3,5,8-9\n"), Some(7));
        assert_eq!(processors_of("0\n"), Some(1));
        assert_eq!(processors_of(""), None);
        assert!(processors().unwrap() >= 1);
    }

    #[test]
    fn each_process_comes_after_its_parent() {
        let me = rustix::process::getpid();
        #[expect(clippy::disallowed_methods, reason = "the test owns the child and reaps it")]
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let order = RunProcesses::new(me, me).parents_first();
        child.kill().unwrap();
        child.wait().unwrap();
        let place = |pid: i32| order.iter().position(|other| *other == pid).unwrap();
        assert!(place(me.as_raw_nonzero().get()) < place(child.id().cast_signed()), "{order:?}");
    }

    #[test]
    fn this_process_uses_what_it_has() {
        let me = rustix::process::getpid();
        let run = RunProcesses::new(me, me);
        let before = run.usage();
        let (memory, kind) = before.memory.unwrap();
        assert!(memory > 100_000 && kind == MemoryKind::Proportional, "{before:?}");
        let taken = vec![1_u8; 64 << 20];
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = run.usage();
        drop((taken, files));
        // Other tests of this process run at the same time, and leave less than they take.
        assert!(after.memory.unwrap().0 >= memory + (32 << 20), "{before:?} {after:?}");
        assert!(after.descriptors.unwrap() >= before.descriptors.unwrap().max(50), "{before:?} {after:?}");
        assert!(after.cpu_time >= before.cpu_time && after.processes.unwrap() >= 1, "{before:?} {after:?}");
    }
}
