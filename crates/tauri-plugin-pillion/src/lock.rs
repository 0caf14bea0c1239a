//! Locking what a panic elsewhere must not take away.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic: nothing that is kept so is ever half changed between lock and unlock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
