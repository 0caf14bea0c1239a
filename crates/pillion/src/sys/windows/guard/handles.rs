//! Handles on their way from the app to the guard.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_IO_PENDING, FALSE, TRUE, WAIT_TIMEOUT},
    Storage::FileSystem::ReadFile,
    System::{
        IO::{GetOverlappedResult, OVERLAPPED},
        Threading::{CreateEventW, GetCurrentProcess, WaitForSingleObject},
    },
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

/// Takes the handle with this number, which [`give`] put into this process. `None` for 0, which is not a handle.
pub(super) fn take(number: u64) -> Option<OwnedHandle> {
    let raw = ptr::with_exposed_provenance_mut(usize::try_from(number).ok().filter(|number| *number != 0)?);
    // SAFETY: the app has created the handle in this process and names it in one message alone.
    Some(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// Reads a pipe by the very file object by which the app may be reading it: a duplicated handle stands for the same one.
///
/// The standard library waits for the file object, which the app's read completes as well, and then aborts the process, because its own
/// read goes on. This reader waits for an event of its own.
pub(super) struct SharedReader<'a> {
    pipe: BorrowedHandle<'a>,
    event: OwnedHandle,
}

impl<'a> SharedReader<'a> {
    pub(super) fn new(pipe: BorrowedHandle<'a>) -> io::Result<Self> {
        // SAFETY: both pointers may be null: no security descriptor (the handle is not inherited) and no name.
        let event = unsafe { CreateEventW(ptr::null(), TRUE, FALSE, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just created and has no other owner.
        Ok(Self { pipe, event: unsafe { OwnedHandle::from_raw_handle(event) } })
    }

    /// Reads what there is, or waits for some. The end of a pipe is an error.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = self.pipe.as_raw_handle();
        let mut overlapped = OVERLAPPED { hEvent: self.event.as_raw_handle(), ..OVERLAPPED::default() };
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        // SAFETY: the handle is open. Buffer and structure live until the read has ended, for which the next call waits.
        let begun = done(unsafe {
            ReadFile(pipe, buffer.as_mut_ptr(), length, ptr::null_mut(), &raw mut overlapped)
        });
        if let Err(error) = begun
            && error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed())
        {
            return Err(error);
        }
        let mut count = 0;
        // SAFETY: the structure is that of the read, and the result pointer has the right type. The call waits for the event.
        done(unsafe { GetOverlappedResult(pipe, &raw const overlapped, &raw mut count, TRUE) })?;
        Ok(count as usize)
    }
}

/// Whether the process runs.
pub(super) fn is_alive(process: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), 0) == WAIT_TIMEOUT }
}
