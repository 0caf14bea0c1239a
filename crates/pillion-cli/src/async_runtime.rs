//! The runtime of the supervisor, for the commands that start a program.

use std::{
    io,
    mem::ManuallyDrop,
    thread::{self, JoinHandle},
};

use tokio::{runtime::Handle, sync::oneshot};

/// Starts a thread that runs the supervisor: it must drain the output while the main thread waits for a slow terminal. The runtime
/// is of one thread, because a runtime that cannot start its workers panics.
pub(crate) fn start_runtime() -> io::Result<(Handle, RuntimeEnd)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (end, ended) = oneshot::channel();
    let run = move || {
        let _ = runtime.block_on(ended);
    };
    let thread = thread::Builder::new().name("supervisor".to_owned()).spawn(run)?;
    Ok((handle, RuntimeEnd { end: Some(end), thread: Some(thread) }))
}

/// Ends the runtime when it is dropped, and waits for its thread.
pub(crate) struct RuntimeEnd {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RuntimeEnd {
    /// Leaves the runtime to the end of this process, for a caller that ends it next, and that needs nothing of the runtime's tasks: to
    /// wait for its thread takes longer.
    pub(crate) fn leave(self) {
        let _left = ManuallyDrop::new(self);
    }
}

impl Drop for RuntimeEnd {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
