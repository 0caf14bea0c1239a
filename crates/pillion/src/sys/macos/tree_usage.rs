//! What the processes of a run use. Type-checked only; never run on a Mac.

use std::{ffi::c_int, io, mem, sync::OnceLock, thread, time::Duration};

use pillion_guard::processes::{
    self,
    search::{Environment, ProcessInfo, ProcessTable, Search},
};
use rustix::process::{Pid, getpid};

use super::port_owners;
use crate::{
    status::MemoryKind,
    sys::{TreeUsage, tree_usage::add},
};

/// The processes of a run: the descendants of its guard and of the processes that the guard has told, and the members of its process group.
/// The environments are not read, which takes long: a daemon whose parent has ended belongs to it from the guard's next look on.
#[derive(Debug)]
pub(crate) struct ProcessTree {
    guard: Option<Pid>,
    leader: Pid,
    /// Process ids and unique ids.
    known: Vec<(i32, u64)>,
}

impl ProcessTree {
    /// The processes under a guard.
    pub(in super::super) fn of_guard(guard: Pid, leader: Pid, known: Vec<(i32, u64)>) -> Self {
        Self { guard: Some(guard), leader, known }
    }

    /// The processes of a group whose leader is a child of this process that is not reaped.
    pub(in super::super) fn of_group(leader: Pid) -> Self {
        Self { guard: None, leader, known: Vec::new() }
    }

    /// Whether [`usage`](Self::usage) tells anything here.
    pub(crate) fn is_measured() -> bool {
        true
    }

    /// What the run uses now. Asks the system about each process of the user: call it off the runtime.
    pub(crate) fn usage(self) -> TreeUsage {
        let own = getpid().as_raw_nonzero().get();
        // A list without this process is not the list of all.
        let Some(pids) = processes::pids().filter(|pids| pids.contains(&own)) else {
            return TreeUsage::default();
        };
        // The guard is a child that is not reaped, so that no other process has its number.
        let guard = self.guard.and_then(|guard| super::identity_of_child(guard, getpid()));
        // The processes that the guard has reaped, read first: one that ends meanwhile is missing rather than counted twice.
        let reaped =
            self.guard.filter(|_| guard.is_some()).and_then(|pid| resources(pid.as_raw_nonzero().get()).ok());
        let mut ticks = reaped.as_ref().map_or(0, reaped_ticks);
        let mut processes = 0;
        let (mut memory, mut descriptors) = (Some(0), Some(0));
        for process in self.members(guard, pids) {
            let (used, open) = (
                resources(process.pid).ok(),
                port_owners::descriptors(process.pid).map(|open| open.len() as u64).ok(),
            );
            if !super::exists(process.pid, process.unique_id) {
                continue;
            }
            processes += 1;
            if let Some(used) = &used {
                ticks += used.ri_user_time + used.ri_system_time + reaped_ticks(used);
            }
            add(&mut memory, used.map(|used| used.ri_phys_footprint));
            add(&mut descriptors, open);
        }
        TreeUsage {
            cpu_time: Some(duration(ticks)),
            memory: memory.map(|bytes| (bytes, MemoryKind::Footprint)),
            processes: Some(processes),
            processors: thread::available_parallelism()
                .ok()
                .and_then(|count| u32::try_from(count.get()).ok()),
            descriptors,
        }
    }

    /// Its processes without the guard, each before those that it has started: a child that ends meanwhile, and whose time is then a part of
    /// its parent's, is missing rather than counted twice. `guard` is the unique id of the guard.
    fn members(&self, guard: Option<u64>, pids: Vec<i32>) -> Vec<ProcessInfo> {
        let mut search = Search::new(getpid().as_raw_nonzero().get(), None);
        // The guard leads a session of its own, and is not reaped.
        let session = self.guard.filter(|_| guard.is_some()).map(|guard| guard.as_raw_nonzero().get());
        search = search.of_session(session);
        if let Some(guard) = guard {
            search.remember_root(guard);
        }
        let leader = super::identity_of_child(self.leader, getpid()).filter(|_| self.guard.is_none());
        leader.into_iter().chain(self.known.iter().map(|(_, id)| *id)).for_each(|id| search.remember(id));
        // Without a guard, the leader is not reaped, and holds the number of the group.
        search.look(&mut Listed(pids), Some(self.leader.as_raw_nonzero().get()), self.guard.is_none());
        let mut members: Vec<_> =
            search.found().iter().copied().filter(|it| Some(it.unique_id) != guard).collect();
        // The system counts them up.
        members.sort_unstable_by_key(|process| process.unique_id);
        members
    }
}

/// A table of these processes, without their environments.
struct Listed(Vec<i32>);

impl ProcessTable for Listed {
    fn pids(&mut self) -> Option<Vec<i32>> {
        Some(mem::take(&mut self.0))
    }

    fn find(&mut self, pid: i32) -> Option<ProcessInfo> {
        processes::find(pid)
    }

    fn environment(&mut self, _pid: i32, _entry: &[u8]) -> Environment {
        Environment::Unmarked
    }
}

/// What a process uses (`proc_pid_rusage`, `libproc.h`; the fields: XNU's `bsd/sys/resource.h`).
fn resources(pid: i32) -> io::Result<libc::rusage_info_v4> {
    // SAFETY: the structure has only numbers, for which zero is valid.
    let mut used: libc::rusage_info_v4 = unsafe { mem::zeroed() };
    // SAFETY: the system writes a structure of this version to `used`.
    let result = unsafe { libc::proc_pid_rusage(pid, libc::RUSAGE_INFO_V4, (&raw mut used).cast()) };
    if result == 0 { Ok(used) } else { Err(io::Error::last_os_error()) }
}

/// The time of the processes that this one has reaped, with that of those which they had reaped.
fn reaped_ticks(used: &libc::rusage_info_v4) -> u64 {
    used.ri_child_user_time + used.ri_child_system_time
}

/// `struct mach_timebase_info` of `<mach/mach_time.h>`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Timebase {
    numerator: u32,
    denominator: u32,
}

unsafe extern "C" {
    fn mach_timebase_info(info: *mut Timebase) -> c_int;
}

/// The time of so many ticks of the system's clock: 41.7 ns each on Apple silicon, 1 ns on Intel.
fn duration(ticks: u64) -> Duration {
    static TIMEBASE: OnceLock<Timebase> = OnceLock::new();
    let base = TIMEBASE.get_or_init(|| {
        let mut base = Timebase::default();
        // SAFETY: the system writes the structure.
        unsafe { mach_timebase_info(&raw mut base) };
        base
    });
    let nanoseconds =
        u128::from(ticks) * u128::from(base.numerator.max(1)) / u128::from(base.denominator.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
