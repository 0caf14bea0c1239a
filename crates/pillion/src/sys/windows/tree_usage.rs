//! What the processes of a job use.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    io,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle},
    sync::{Arc, Weak},
};

use windows_sys::Win32::{
    Foundation::{ERROR_INVALID_PARAMETER, STILL_ACTIVE},
    System::{
        ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS_EX},
        Threading::{
            ALL_PROCESSOR_GROUPS, GetActiveProcessorCount, GetProcessHandleCount, PROCESS_QUERY_INFORMATION,
            PROCESS_QUERY_LIMITED_INFORMATION,
        },
    },
};

use super::{
    job::{Job, done},
    process,
};
use crate::{
    status::MemoryKind,
    sys::{TreeUsage, tree_usage::add},
};

/// The processes of a run: the members of its job. It holds no handle of the job, which would keep them alive.
#[derive(Debug)]
pub(crate) struct ProcessTree(Weak<Job>);

impl ProcessTree {
    pub(super) fn new(job: &Arc<Job>) -> Self {
        Self(Arc::downgrade(job))
    }

    /// Whether [`usage`](Self::usage) tells anything here.
    pub(crate) fn is_measured() -> bool {
        true
    }

    /// What the run uses now. Asks the system about each process: call it off the runtime.
    pub(crate) fn usage(self) -> TreeUsage {
        let Some(job) = self.0.upgrade() else { return TreeUsage::default() };
        usage(&job).unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot list the processes of a job");
            TreeUsage::default()
        })
    }
}

fn usage(job: &Job) -> io::Result<TreeUsage> {
    let mut processes = 0;
    let (mut memory, mut handles) = (Some(0), Some(0));
    for pid in job.processes()? {
        let (of_memory, of_handles) = match member(job, pid) {
            Ok(Some(process)) => {
                let process = process.as_handle();
                let figures = (private_memory(process).ok(), open_handles(process).ok());
                if process::exit_code(process).is_ok_and(|code| code != STILL_ACTIVE) {
                    continue;
                }
                figures
            }
            // It has ended since the list was made.
            Ok(None) => continue,
            Err(_) => (None, None),
        };
        processes += 1;
        add(&mut memory, of_memory);
        add(&mut handles, of_handles);
    }
    // SAFETY: takes only an integer.
    let processors = unsafe { GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) };
    Ok(TreeUsage {
        cpu_time: job.cpu_time().ok(),
        memory: memory.map(|bytes| (bytes, MemoryKind::Private)),
        processes: Some(processes),
        processors: (processors > 0).then_some(processors),
        descriptors: handles,
    })
}

/// The member of the job with this id. `None` if it has ended, even if another process has its id now.
fn member(job: &Job, pid: u32) -> io::Result<Option<OwnedHandle>> {
    // The second right is enough on Windows, which gives it for more processes; Wine's `IsProcessInJob` needs the first one.
    let opened = process::open(pid, PROCESS_QUERY_INFORMATION)
        .or_else(|_| process::open(pid, PROCESS_QUERY_LIMITED_INFORMATION));
    match opened {
        Ok(process) => Ok(job.has(process.as_handle())?.then_some(process)),
        Err(error) if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER.cast_signed()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The memory that the system has promised to this process alone, in bytes: `PrivateUsage`
/// (<https://learn.microsoft.com/en-us/windows/win32/api/psapi/ns-psapi-process_memory_counters_ex>).
fn private_memory(process: BorrowedHandle<'_>) -> io::Result<u64> {
    let mut counters = PROCESS_MEMORY_COUNTERS_EX::default();
    let size = size_of_val(&counters) as u32;
    // SAFETY: the handle is open. The system writes at most `size` bytes; by that size it knows the longer structure.
    done(unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), (&raw mut counters).cast(), size) })?;
    // The same figure twice. Windows up to 7 tells only the first one, Wine 8 only the second.
    Ok(counters.PrivateUsage.max(counters.PagefileUsage) as u64)
}

fn open_handles(process: BorrowedHandle<'_>) -> io::Result<u64> {
    let mut count = 0;
    // SAFETY: the handle is open, and the result pointer has the right type.
    done(unsafe { GetProcessHandleCount(process.as_raw_handle(), &raw mut count) })?;
    Ok(count.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_outside_the_job_is_not_measured() {
        let job = Job::new().unwrap();
        assert!(member(&job, std::process::id()).unwrap().is_none());
        assert!(job.processes().unwrap().is_empty());
        let used = usage(&job).unwrap();
        assert_eq!((used.processes, used.memory), (Some(0), Some((0, MemoryKind::Private))));
        assert!(used.processors.unwrap() > 0);
    }

    #[test]
    fn a_job_that_is_closed_is_not_measured() {
        let tree = ProcessTree::new(&Arc::new(Job::new().unwrap()));
        assert_eq!(tree.usage(), TreeUsage::default());
    }
}
