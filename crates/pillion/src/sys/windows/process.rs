//! Processes by their handles.
#![expect(unsafe_code, reason = "the system's own interface")]

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
            GetExitCodeProcess, INFINITE, OpenProcess, OpenThread, PROCESS_QUERY_INFORMATION,
            RegisterWaitForSingleObject, ResumeThread, THREAD_SUSPEND_RESUME, UnregisterWaitEx,
            WT_EXECUTEINWAITTHREAD, WT_EXECUTEONLYONCE,
        },
    },
};

use super::job::done;

/// Waits until `process` has ended. Dropping the future takes the wait back.
pub(super) async fn ended(process: BorrowedHandle<'_>) -> io::Result<()> {
    Wait::begin(process)?.ended.notified().await;
    Ok(())
}

/// The exit code of a process that has ended.
pub(super) fn exit_code(process: BorrowedHandle<'_>) -> io::Result<i32> {
    let mut code = 0;
    // SAFETY: the handle is open, and the code is written to a place of its type.
    done(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) })?;
    Ok(code.cast_signed())
}

/// The process that created the instance of a named pipe which `pipe` is connected to.
pub(super) fn server(pipe: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    let mut pid = 0;
    // SAFETY: the handle is open, and the number is written to a place of its type.
    done(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut pid) })?;
    // What `IsProcessInJob` asks for; on Windows PROCESS_QUERY_LIMITED_INFORMATION would do, under Wine it does not.
    // SAFETY: it takes numbers alone.
    owned(unsafe { OpenProcess(PROCESS_QUERY_INFORMATION, 0, pid) })
}

/// Lets a process run that was created suspended, and whose handle is held, so that the number is still its own.
///
/// The standard library closes the handle of the thread that is to be resumed, and its `main_thread_handle` is unstable
/// (<https://github.com/rust-lang/rust/issues/96723>): the thread is looked up.
pub(super) fn resume(pid: u32) -> io::Result<()> {
    // SAFETY: it takes numbers alone.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    let snapshot = owned(snapshot)?;
    let mut thread = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    // SAFETY: the snapshot is open, and the entry carries its own size.
    let mut found = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut thread) };
    while found != 0 {
        if thread.th32OwnerProcessID == pid && resume_thread(thread.th32ThreadID)? {
            return Ok(());
        }
        // SAFETY: as above.
        found = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut thread) };
    }
    Err(io::Error::other("the new process has no thread that could be resumed"))
}

/// Whether it was suspended: what others put into a new process, such as a virus scanner's thread, is not.
fn resume_thread(id: u32) -> io::Result<bool> {
    // SAFETY: it takes numbers alone.
    let thread = owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, id) })?;
    // SAFETY: the handle is open.
    match unsafe { ResumeThread(thread.as_raw_handle()) } {
        u32::MAX => Err(io::Error::last_os_error()),
        suspended => Ok(suspended > 0),
    }
}

fn owned(handle: RawHandle) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller has it from a function that opened it, and gives it away.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// A wait by a thread of the system's pool, which all waits share; tokio waits for its children in the same way, but only
/// for children.
struct Wait {
    registration: HANDLE,
    ended: Arc<Notify>,
    /// Must be open while the wait lasts, even where this value is leaked.
    _process: OwnedHandle,
}

// SAFETY: the registration is a number that any thread may use, and it is used once, by whoever drops this.
unsafe impl Send for Wait {}
// SAFETY: a shared `Wait` gives access to `Notify` alone, which is `Sync`.
unsafe impl Sync for Wait {}

impl Wait {
    fn begin(process: BorrowedHandle<'_>) -> io::Result<Self> {
        let process = process.try_clone_to_owned()?;
        let ended = Arc::new(Notify::new());
        let mut registration = ptr::null_mut();
        // SAFETY: the handle and what the context points to are kept by the value that is returned until the wait is taken
        // back, and where it is leaked, they are leaked with it.
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

/// Runs on a thread of the system's, at most once. It stores a permit where nobody waits yet.
unsafe extern "system" fn notify(ended: *mut c_void, _timed_out: bool) {
    // SAFETY: `ended` is what `Wait::begin` gave, and a `Wait` is not dropped before this function has returned.
    unsafe { &*ended.cast_const().cast::<Notify>() }.notify_one();
}

impl Drop for Wait {
    fn drop(&mut self) {
        // SAFETY: the registration is our own, and this is its one end. `INVALID_HANDLE_VALUE` has the call wait for
        // `notify` where that is running, so that it never sees a `Notify` that is gone.
        unsafe { UnregisterWaitEx(self.registration, INVALID_HANDLE_VALUE) };
    }
}
