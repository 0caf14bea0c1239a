//! The error mode of this process: <https://learn.microsoft.com/en-us/windows/win32/api/errhandlingapi/nf-errhandlingapi-seterrormode>.
#![expect(unsafe_code, reason = "calls the Windows API")]

use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::System::Diagnostics::Debug::{
    GetErrorMode, SEM_FAILCRITICALERRORS, SetErrorMode, THREAD_ERROR_MODE,
};

/// Does the work, which starts a process, in a mode that the process inherits: if one of its DLLs is missing, it ends with the status
/// of that error. Without it, a dialogue box opens, and the start takes until a person closes the box.
///
/// The mode belongs to the whole process, so it is changed for the duration of the work only, by one thread at a time.
pub(super) fn without_error_boxes<T>(work: impl FnOnce() -> T) -> T {
    static CHANGING: Mutex<()> = Mutex::new(());
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: takes no argument.
    let restore = Restore(unsafe { GetErrorMode() });
    // SAFETY: takes only an integer.
    unsafe { SetErrorMode(restore.0 | SEM_FAILCRITICALERRORS) };
    work()
}

/// Sets the earlier mode again on drop.
struct Restore(THREAD_ERROR_MODE);

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: takes only an integer.
        unsafe { SetErrorMode(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_holds_for_the_work_alone() {
        // SAFETY: takes no argument.
        let mode = || unsafe { GetErrorMode() };
        let before = mode();
        assert_eq!(without_error_boxes(mode), before | SEM_FAILCRITICALERRORS);
        assert_eq!(mode(), before);
        let _ = std::panic::catch_unwind(|| without_error_boxes(|| panic!("the work fails")));
        assert_eq!(mode(), before);
    }
}
