//! Processes, by their handles.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle},
    ptr,
    sync::Arc,
};

use tokio::sync::Notify;
use windows_sys::Win32::{
    Foundation::{HANDLE, INVALID_HANDLE_VALUE},
    System::{
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
        },
        Pipes::GetNamedPipeServerProcessId,
        Threading::{
            GetExitCodeProcess, INFINITE, OpenProcess, OpenThread, PROCESS_ACCESS_RIGHTS,
            PROCESS_QUERY_INFORMATION, RegisterWaitForSingleObject, ResumeThread, THREAD_SUSPEND_RESUME,
            UnregisterWaitEx, WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
        },
    },
};

use super::job::done;

/// Waits until `process` has ended. Dropping the future cancels the wait.
pub(super) async fn ended(process: BorrowedHandle<'_>) -> io::Result<()> {
    ExitWait::begin(process)?.ended.notified().await;
    Ok(())
}

/// The exit code of a process that has ended.
pub(super) fn exit_code(process: BorrowedHandle<'_>) -> io::Result<i32> {
    let mut code = 0;
    // SAFETY: the handle is open, and the result pointer has the right type.
    done(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) })?;
    Ok(code.cast_signed())
}

/// The process that serves the pipe instance to which `pipe` is connected.
pub(super) fn server(pipe: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    let mut pid = 0;
    // SAFETY: the handle is open, and the result pointer has the right type.
    done(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    // `IsProcessInJob` needs this right. On Windows PROCESS_QUERY_LIMITED_INFORMATION is enough, under Wine it is not.
    open(pid, PROCESS_QUERY_INFORMATION)
}

/// The process that has this id now, with this right.
pub(super) fn open(pid: u32, right: PROCESS_ACCESS_RIGHTS) -> io::Result<OwnedHandle> {
    // SAFETY: takes only integers.
    owned(unsafe { OpenProcess(right, 0, pid) })
}

/// Resumes a process that was created suspended. The caller must hold its handle, so that its id is not reused.
///
/// The standard library closes the main thread's handle, and `main_thread_handle` is unstable
/// (<https://github.com/rust-lang/rust/issues/96723>), so this function searches for the thread.
pub(super) fn resume(pid: u32) -> io::Result<()> {
    // SAFETY: takes only integers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    let snapshot = owned(snapshot)?;
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    // SAFETY: the snapshot is open, and the entry carries its own size.
    let mut found = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    let mut threads = Vec::new();
    while found != 0 {
        if entry.th32OwnerProcessID == pid {
            threads.push(entry.th32ThreadID);
        }
        // SAFETY: as for `Thread32First`.
        found = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    resume_first(&threads, resume_thread)
}

/// Resumes the first of these threads that is suspended. A thread that has ended since the snapshot, such as one that a virus scanner
/// injected, does not end the search.
fn resume_first(threads: &[u32], resume: impl Fn(u32) -> io::Result<bool>) -> io::Result<()> {
    let mut error = io::Error::other("the new process has no suspended thread");
    for thread in threads {
        match resume(*thread) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(refused) => error = refused,
        }
    }
    Err(error)
}

/// Resumes a thread. Returns whether it was suspended: a thread that a virus scanner injected is not.
fn resume_thread(id: u32) -> io::Result<bool> {
    // SAFETY: takes only integers.
    let thread = owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, id) })?;
    // SAFETY: the handle is open.
    match unsafe { ResumeThread(thread.as_raw_handle()) } {
        u32::MAX => Err(io::Error::last_os_error()),
        suspended => Ok(suspended > 0),
    }
}

pub(super) fn owned(handle: RawHandle) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller got the handle from a function that opened it, and passes its ownership.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// A registered wait, which a thread of the system's pool carries out. tokio does the same, but only for its own children.
struct ExitWait {
    registration: HANDLE,
    ended: Arc<Notify>,
    /// Must stay open during the wait, even if this value is leaked.
    _process: OwnedHandle,
}

// SAFETY: any thread may use the registration, and only `drop` uses it.
unsafe impl Send for ExitWait {}
// SAFETY: a shared `ExitWait` gives access only to `Notify`, which is `Sync`.
unsafe impl Sync for ExitWait {}

impl ExitWait {
    fn begin(process: BorrowedHandle<'_>) -> io::Result<Self> {
        let process = process.try_clone_to_owned()?;
        let ended = Arc::new(Notify::new());
        let mut registration = ptr::null_mut();
        // SAFETY: the returned value owns the handle and the context until it cancels the wait. If it is leaked, so are they.
        done(unsafe {
            RegisterWaitForSingleObject(
                &raw mut registration,
                process.as_raw_handle(),
                Some(notify),
                Arc::as_ptr(&ended).cast(),
                INFINITE,
                WT_EXECUTEINWAITTHREAD | WT_EXECUTEONLYONCE,
            )
        })?;
        Ok(Self { registration, ended, _process: process })
    }
}

/// Runs on a thread of the system's pool, at most once. Stores a permit if no task waits yet.
unsafe extern "system" fn notify(ended: *mut c_void, _timed_out: bool) {
    // SAFETY: `ended` is the pointer that `ExitWait::begin` passed. `ExitWait::drop` waits for this function to return.
    unsafe { &*ended.cast_const().cast::<Notify>() }.notify_one();
}

impl Drop for ExitWait {
    fn drop(&mut self) {
        // SAFETY: the registration is our own and is cancelled once. `INVALID_HANDLE_VALUE` makes the call wait for a running
        // `notify`, which therefore never sees a freed `Notify`.
        unsafe { UnregisterWaitEx(self.registration, INVALID_HANDLE_VALUE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_ended_does_not_end_the_search() {
        let gone = || io::Error::from_raw_os_error(87);
        let resume = |thread| match thread {
            1 => Err(gone()),
            2 => Ok(false),
            _ => Ok(true),
        };
        resume_first(&[1, 2, 3], resume).unwrap();
        assert_eq!(resume_first(&[1, 2], resume).unwrap_err().raw_os_error(), gone().raw_os_error());
        assert!(resume_first(&[2], resume).unwrap_err().to_string().contains("no suspended thread"));
    }
}
