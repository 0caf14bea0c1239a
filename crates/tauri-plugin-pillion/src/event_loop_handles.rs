//! Keeps a fault of Tauri from damaging the heap of the app.
//!
//! On Linux and Windows, each handle to the app (`AppHandle`, `Webview`) holds a counted reference to the event loop whose counter is not
//! atomic (`Rc` in `EventLoopWindowTarget` of tao 0.37), and tauri-runtime-wry 2.12 declares the type `Send` (`unsafe impl Send for
//! Context`). Each call of a page creates handles on the main thread and drops them on threads of the runtime. When two threads change the
//! counter at the same time, one change is lost. Once the counter is too low, a drop frees what other handles still use.
//! <https://github.com/tauri-apps/tauri/issues/15408>
//!
//! The counter is therefore kept far above the number of handles, by handles that are never dropped. They occupy no memory.

use std::{
    any::TypeId,
    mem,
    sync::atomic::{AtomicU32, Ordering},
};

use tauri::{AppHandle, Manager as _, Runtime, Wry, ipc::Invoke};

/// How many changes of the counter may be lost at first.
const SPARE: u32 = 4096;

/// After so many calls of pages, one more may be lost. About one in a thousand calls loses one, by measurement. Other counters of a handle
/// have 32 bits, so that each call must not add one.
const CALLS_PER_SPARE: u32 = 128;

/// Makes the fault harmless for this app. Call it on the main thread.
pub(crate) fn keep_spare<R: Runtime>(app: &AppHandle<R>) {
    if is_counted::<R>() {
        forget_clones(app, SPARE);
    }
}

/// Keeps the fault harmless while pages call `handler`, which Tauri does on the main thread.
pub(crate) fn spare_with_calls<R: Runtime>(
    handler: impl Fn(Invoke<R>) -> bool + Send + Sync + 'static,
) -> impl Fn(Invoke<R>) -> bool + Send + Sync + 'static {
    let calls = AtomicU32::new(0);
    move |invoke| {
        if is_counted::<R>() && is_due(&calls) {
            forget_clones(invoke.message.webview_ref().app_handle(), 1);
        }
        handler(invoke)
    }
}

/// Whether handles of this runtime have the counter. Tauri's runtime for tests has none, and its apps are dropped.
fn is_counted<R: Runtime>() -> bool {
    cfg!(not(target_os = "macos")) && TypeId::of::<R>() == TypeId::of::<Wry>()
}

/// Counts a call. Returns true once in [`CALLS_PER_SPARE`] calls.
fn is_due(calls: &AtomicU32) -> bool {
    calls.fetch_add(1, Ordering::Relaxed) % CALLS_PER_SPARE == CALLS_PER_SPARE - 1
}

fn forget_clones<T: Clone>(handle: &T, count: u32) {
    for _ in 0..count {
        mem::forget(handle.clone());
    }
    tracing::trace!(
        count,
        "keeps handles to the app for ever: https://github.com/tauri-apps/tauri/issues/15408"
    );
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn forgotten_clones_outnumber_lost_changes() {
        let handle = Rc::new(());
        forget_clones(&handle, SPARE);
        assert_eq!(Rc::strong_count(&handle), 1 + SPARE as usize);
    }

    #[test]
    fn one_call_in_many_adds_a_clone() {
        let calls = AtomicU32::new(0);
        let due = (0..10 * CALLS_PER_SPARE).filter(|_| is_due(&calls)).count();
        assert_eq!(due, 10);
    }
}
