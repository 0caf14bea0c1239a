//! Handles on their way from the app to the guard.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, WAIT_TIMEOUT},
    System::Threading::{GetCurrentProcess, WaitForSingleObject},
};

use super::super::job::done;

/// Duplicates a handle into another process. Returns its number there. That process owns it, even if it never learns of it.
pub(super) fn give(process: BorrowedHandle<'_>, handle: BorrowedHandle<'_>) -> io::Result<u64> {
    let mut there = ptr::null_mut();
    // SAFETY: both handles are open, and the result pointer has the right type. The current process needs no real handle.
    done(unsafe {
        DuplicateHandle(
            GetCurrentProcess(),
            handle.as_raw_handle(),
            process.as_raw_handle(),
            &raw mut there,
            0,
            0,
            DUPLICATE_SAME_ACCESS,
        )
    })?;
    Ok(there.addr() as u64)
}

/// Takes the handle with this number, which [`give`] put into this process. `None` for 0, which is no handle.
pub(super) fn take(number: u64) -> Option<OwnedHandle> {
    let raw = ptr::with_exposed_provenance_mut(usize::try_from(number).ok().filter(|number| *number != 0)?);
    // SAFETY: the app has created the handle in this process and names it in one message alone.
    Some(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// Whether the process runs.
pub(super) fn is_alive(process: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_TIMEOUT }
}
