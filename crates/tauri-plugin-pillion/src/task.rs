//! Tasks of one type. Tokio has some 7 KB of machine code for each type of future that is a task, in the size of every app.

use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tauri::async_runtime;

/// A future that becomes a task.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a future a task, which the runtime then spawns.
pub(crate) fn task(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(future)
}

/// Polls a task in this thread. Returns it if it waits: nothing wakes it but a runtime that it is then given to. A panic ends it, as in a
/// runtime.
pub(crate) fn poll_once(mut task: Task) -> Option<Task> {
    let runtime = async_runtime::handle();
    let _context = runtime.inner().enter();
    let poll = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    match panic::catch_unwind(AssertUnwindSafe(poll)) {
        Ok(Poll::Pending) => Some(task),
        Ok(Poll::Ready(())) | Err(_) => None,
    }
}
