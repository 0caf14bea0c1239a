//! Job objects: <https://learn.microsoft.com/en-us/windows/win32/procthread/job-objects>.
#![expect(unsafe_code, reason = "the system's own interface")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use windows_sys::{
    Win32::System::JobObjects::{
        AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
        JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
        JobObjectBasicAccountingInformation, JobObjectExtendedLimitInformation, QueryInformationJobObject,
        SetInformationJobObject, TerminateJobObject,
    },
    core::BOOL,
};

/// What a killed process leaves as its exit code. There is no telling it from one that ended with 1 by itself.
const KILLED: u32 = 1;

/// A job whose processes are killed when it is dropped: this handle is its only one, and children do not inherit it.
///
/// Nobody breaks away from it: without `JOB_OBJECT_LIMIT_BREAKAWAY_OK`, who tries is refused. This program itself is never
/// in it, so that an updater which it starts outlives it.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: both pointers may be null, which means no security descriptor (so that the handle is not inherited) and
        // no name.
        let handle = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just created, and is nobody else's.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        job.kill_on_close()?;
        Ok(job)
    }

    fn kill_on_close(&self) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        // SAFETY: the handle is open; the structure is the one that belongs to this class, and its size is its own.
        done(unsafe {
            SetInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size_of_val(&limits) as u32,
            )
        })
    }

    /// Makes `process`, and whatever it will start, a member.
    pub(super) fn adopt(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), process.as_raw_handle()) })
    }

    /// Whether `process` is a member.
    pub(super) fn has(&self, process: BorrowedHandle<'_>) -> io::Result<bool> {
        let mut has = 0;
        // SAFETY: both handles are open, and the answer is written to a place of its type.
        done(unsafe { IsProcessInJob(process.as_raw_handle(), self.0.as_raw_handle(), &raw mut has) })?;
        Ok(has != 0)
    }

    /// Kills all members. It fails only where there is nothing to kill.
    pub(super) fn kill(&self) {
        // SAFETY: the handle is open.
        let _ = done(unsafe { TerminateJobObject(self.0.as_raw_handle(), KILLED) });
    }

    /// Whether no member is alive.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        let mut accounting = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open; the structure is the one that belongs to this class, and its size is its own; nobody
        // wants to know how much was written.
        done(unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectBasicAccountingInformation,
                (&raw mut accounting).cast(),
                size_of_val(&accounting) as u32,
                ptr::null_mut(),
            )
        })?;
        Ok(accounting.ActiveProcesses == 0)
    }
}

/// What a function says that answers 0 for a failure.
pub(super) fn done(answer: BOOL) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
