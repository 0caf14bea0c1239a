//! Tasks of one type. Tokio has some 7 KB of machine code for each type of future that is a task, in the size of every app.

use std::pin::Pin;

/// A future that becomes a task.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a future a task, which the runtime then spawns.
pub(crate) fn task(future: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(future)
}
