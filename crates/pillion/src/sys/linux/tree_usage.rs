//! What the processes of a run use, as `/proc` shows it.

use std::{fs, io, path::Path, sync::OnceLock, time::Duration};

use pillion_guard::proc_stat::ProcStat;
use rustix::io::Errno;

use super::run_processes::RunProcesses;
use crate::{report::usage::MemoryKind, sys::TreeUsage};

impl RunProcesses {
    /// What the run uses now. Reads a few files for each process, whose cost grows with its memory: call it off the runtime.
    pub(crate) fn usage(self) -> TreeUsage {
        if !super::proc_is_ours() {
            return TreeUsage::default();
        }
        // The processes that the guard has reaped, read first: one that ends meanwhile is missing rather than counted twice.
        let mut ticks = self.guard().and_then(reaped_ticks).unwrap_or_default();
        let mut processes = 0;
        let (mut proportional, mut resident, mut descriptors) = (Some(0), Some(0), Some(0));
        for pid in self.members() {
            let Some(stat) = ProcStat::read(pid) else { continue };
            ticks += stat.ticks;
            if !super::is_alive(&stat) {
                continue;
            }
            processes += 1;
            add(&mut proportional, proportional_memory(pid));
            add(&mut resident, resident_memory(pid));
            add(&mut descriptors, open_descriptors(pid));
        }
        let memory = proportional
            .map(|bytes| (bytes, MemoryKind::Proportional))
            .or_else(|| Some((resident?, MemoryKind::Resident)));
        TreeUsage {
            // Linux counts in USER_HZ, which is 100 on every architecture of Rust's std (time(7)).
            cpu_time: Some(Duration::from_millis(ticks * 10)),
            memory,
            processes: Some(processes),
            descriptors,
        }
    }
}

/// Adds a figure of a process. One that has ended adds nothing; one whose figure is hidden makes the sum unknown.
fn add(sum: &mut Option<u64>, figure: io::Result<u64>) {
    match figure {
        Ok(figure) => *sum = sum.map(|sum| sum.saturating_add(figure)),
        Err(error) if has_ended(&error) => {}
        Err(_) => *sum = None,
    }
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// `cutime` and `cstime` of a process: the processor time of the children that it has reaped, in clock ticks.
fn reaped_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // From the third field of `proc_pid_stat(5)` on: those two are the 16th and the 17th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
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
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    // A process that is about to end has given its memory back already, and has no such line.
    Ok(kib.unwrap_or(0_u64) * 1024)
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
        add(&mut sum, Ok(2));
        add(&mut sum, Err(io::ErrorKind::NotFound.into()));
        add(&mut sum, Err(Errno::SRCH.into()));
        assert_eq!(sum, Some(3));
        add(&mut sum, Err(io::ErrorKind::PermissionDenied.into()));
        add(&mut sum, Ok(2));
        assert_eq!(sum, None);
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
