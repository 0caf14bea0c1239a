//! The event loop of the app's main thread, where it is not used: everything runs in the runtime.

use tauri::async_runtime;

use crate::desktop::task::Task;

pub(crate) fn has_room() -> bool {
    false
}

pub(crate) fn begin(task: Task) {
    async_runtime::spawn(task);
}
