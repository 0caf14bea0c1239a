//! Job objects: <https://learn.microsoft.com/en-us/windows/win32/procthread/job-objects>.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    io,
    mem::offset_of,
    os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
    time::Duration,
};

use windows_sys::{
    Win32::{
        Foundation::ERROR_MORE_DATA,
        System::JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_BASIC_PROCESS_ID_LIST,
            JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicAccountingInformation,
            JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation, QueryInformationJobObject,
            SetInformationJobObject, TerminateJobObject,
        },
    },
    core::BOOL,
};

use crate::sys::Used;

/// The exit code of a killed process. It looks like a process that exited with 1 by itself.
const KILLED: u32 = 1;
/// How many processes the first list of them has space for.
const FIRST: usize = 16;
/// A list of processes that needs more space than for this many: the system does not answer as it should.
const MOST: usize = 1 << 20;

/// A job whose processes are killed on drop of its last handle: that of this value, which children do not inherit, or that of a guard.
///
/// No member can break away, because `JOB_OBJECT_LIMIT_BREAKAWAY_OK` is not set. This program is not a member, so that an
/// updater that it starts can outlive it.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: both pointers may be null: no security descriptor (the handle is not inherited) and no name.
        let handle = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just created and has no other owner.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        job.kill_on_close()?;
        Ok(job)
    }

    fn kill_on_close(&self) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the handle is open. The structure matches the information class, and its true size is passed.
        done(unsafe {
            SetInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        })
    }

    /// Makes `process` and its future children members.
    pub(super) fn adopt(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process.as_raw_handle()) })
    }

    /// Whether `process` is a member.
    pub(super) fn has(&self, process: BorrowedHandle<'_>) -> io::Result<bool> {
        let mut has = 0;
        // SAFETY: both handles are open, and the result pointer has the right type.
        done(unsafe { IsProcessInJob(process.as_raw_handle(), self.0.as_raw_handle(), &raw mut has) })?;
        Ok(has != 0)
    }

    /// Kills all members. An error means that no member is alive.
    pub(super) fn kill(&self) {
        // SAFETY: the handle is open.
        let _ = done(unsafe { TerminateJobObject(self.0.as_raw_handle(), KILLED) });
    }

    /// Whether the job has no live member.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.accounting()?.ActiveProcesses == 0)
    }

    /// The process ids of its live members.
    pub(super) fn processes(&self) -> io::Result<Vec<u32>> {
        /// The two counts before the ids, each of which has the size of a pointer.
        const HEADER: usize = offset_of!(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList) / size_of::<usize>();
        let mut space = vec![0_usize; HEADER + FIRST];
        loop {
            // SAFETY: the handle is open, and the system writes at most the size of the space. The structure needs no other alignment than
            // its ids. The pointer for the written size may be null.
            let told = done(unsafe {
                QueryInformationJobObject(
                    self.0.as_raw_handle(),
                    JobObjectBasicProcessIdList,
                    space.as_mut_ptr().cast(),
                    size_of_val(&space[..]) as u32,
                    ptr::null_mut(),
                )
            });
            match told {
                // Processes may start between two calls.
                Err(error) if is_cut(&error) && space.len() < MOST => space.resize(2 * space.len(), 0),
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // SAFETY: the space has more than 8 bytes, is aligned for 32 bits, and begins with these two counts.
        let [_assigned, listed] = unsafe { space.as_ptr().cast::<[u32; 2]>().read() };
        let ids = space[HEADER..].iter().take(listed as usize);
        // A process id has 32 bits, here too.
        Ok(ids.map(|id| *id as u32).collect())
    }

    /// The processor time of all members, those included that have ended.
    pub(super) fn cpu_time(&self) -> io::Result<Duration> {
        let accounting = self.accounting()?;
        // In units of 100 ns.
        let ticks = (accounting.TotalUserTime + accounting.TotalKernelTime).unsigned_abs();
        Ok(Duration::from_nanos(ticks.saturating_mul(100)))
    }

    /// What all members have used, those included that have ended.
    pub(super) fn used(&self) -> io::Result<Used> {
        let cpu_time = self.cpu_time()?;
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        // SAFETY: the handle is open. The structure matches the information class, and its true size is passed. The pointer
        // for the written size may be null.
        done(unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw mut limits).cast(),
                size_of_val(&limits) as u32,
                ptr::null_mut(),
            )
        })?;
        Ok(Used { cpu_time: Some(cpu_time), peak_memory: Some(limits.PeakJobMemoryUsed as u64) })
    }

    fn accounting(&self) -> io::Result<JOBOBJECT_BASIC_ACCOUNTING_INFORMATION> {
        let mut accounting = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open. The structure matches the information class, and its true size is passed. The pointer
        // for the written size may be null.
        done(unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectBasicAccountingInformation,
                (&raw mut accounting).cast(),
                size_of_val(&accounting) as u32,
                ptr::null_mut(),
            )
        })?;
        Ok(accounting)
    }
}

/// A handle of a job that exists.
impl From<OwnedHandle> for Job {
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl AsHandle for Job {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Whether an answer is larger than its space.
fn is_cut(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed())
}

/// The result of a function that returns 0 on failure.
pub(super) fn done(result: BOOL) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::windows::process::CommandExt,
        process::{Command, Stdio},
    };

    use windows_sys::Win32::System::Threading::CREATE_SUSPENDED;

    use super::*;

    #[test]
    fn a_list_that_does_not_fit_is_read_again() {
        let job = Job::new().unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "no such test"]).creation_flags(CREATE_SUSPENDED).stdout(Stdio::null());
        let mut started = Vec::new();
        for _ in 0..FIRST + 4 {
            #[expect(clippy::disallowed_methods, reason = "the job ends it")]
            let child = command.spawn().unwrap();
            job.adopt(child.as_handle()).unwrap();
            started.push(child.id());
        }
        let mut listed = job.processes().unwrap();
        listed.sort_unstable();
        started.sort_unstable();
        assert_eq!(listed, started);
        job.kill();
    }
}
