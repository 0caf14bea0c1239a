//! What the processes of a guard are called (`comm`, `proc_pid_comm(5)`). Both guards and the supervisor compile this file.

use core::ffi::CStr;

/// The guard of an app that lives.
pub const GUARD: &CStr = c"pillion-guard";
/// The guard of an app that has ended, which stops the sidecar. A later start of the app waits for it if the sidecar has its port.
pub const CLEANUP: &CStr = c"pillion-cleanup";
