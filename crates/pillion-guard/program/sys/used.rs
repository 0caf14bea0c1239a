//! What the sidecar's processes have used.

use std::ffi::{c_int, c_long};

/// `struct timeval` (timeval(3type)), whose second field is narrower on macOS.
#[repr(C)]
struct TimeValue {
    seconds: c_long,
    #[cfg(target_os = "linux")]
    micros: c_long,
    #[cfg(not(target_os = "linux"))]
    micros: c_int,
}

/// `struct rusage` (getrusage(2)) on systems of 64 bits. On those of 32 bits, its size depends on the C library.
#[repr(C)]
struct ResourceUsage {
    user: TimeValue,
    system: TimeValue,
    max_resident: c_long,
    others: [c_long; 13],
}

unsafe extern "C" {
    fn getrusage(who: c_int, usage: *mut ResourceUsage) -> c_int;
}

/// The processor time in microseconds of the children that this process has reaped, and of those that they have reaped; and the largest
/// resident set of one of them, in bytes.
///
/// The latter is not known after a light guard if it is no larger than that of the app was: the system counts the memory in which the
/// sidecar's process and this one began, the app's, for both.
pub(crate) fn used_by_children(after_light: bool) -> Option<(u64, Option<u64>)> {
    const RUSAGE_SELF: c_int = 0;
    const RUSAGE_CHILDREN: c_int = -1;
    let (micros, bytes) = used(RUSAGE_CHILDREN)?;
    let begin = if after_light { used(RUSAGE_SELF)?.1 } else { 0 };
    Some((micros, (bytes > begin).then_some(bytes)))
}

fn used(who: c_int) -> Option<(u64, u64)> {
    if cfg!(not(target_pointer_width = "64")) {
        return None;
    }
    let time = || TimeValue { seconds: 0, micros: 0 };
    let mut usage = ResourceUsage { user: time(), system: time(), max_resident: 0, others: [0; 13] };
    // SAFETY: the structure has the size and the layout that the system writes, on systems of 64 bits.
    if unsafe { getrusage(who, &raw mut usage) } != 0 {
        return None;
    }
    let micros =
        |time: &TimeValue| u64::try_from(i128::from(time.seconds) * 1_000_000 + i128::from(time.micros)).ok();
    // Linux counts in kibibytes, macOS in bytes.
    let unit = if cfg!(target_os = "linux") { 1024 } else { 1 };
    Some((micros(&usage.user)? + micros(&usage.system)?, u64::try_from(usage.max_resident).ok()? * unit))
}
