//! The runtime of the proxy: one thread, which the first request starts.
//!
//! In Tauri's runtime, which has a thread for each core, a request of a few bytes wakes threads five times, by a trace of strace(1): a thread
//! that takes a task, or waits while another one waits for sockets, wakes the next. Here it is twice: for the call of the page, and for the
//! answer of the sidecar.
//!
//! Rejected: to begin a request on the main thread, where the page's call arrives. It is not quicker than this, and the window would wait.

use std::{future, io, sync::OnceLock, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Dropping it ends the thread, and what runs there.
#[derive(Debug, Default)]
pub(super) struct ProxyRuntime(OnceLock<Running>);

#[derive(Debug)]
struct Running {
    handle: Handle,
    _end_on_drop: DropGuard,
}

impl ProxyRuntime {
    pub(super) fn handle(&self) -> io::Result<&Handle> {
        if let Some(running) = self.0.get() {
            return Ok(&running.handle);
        }
        let running = Running::start()?;
        // If another thread was quicker, this one ends.
        Ok(&self.0.get_or_init(|| running).handle)
    }
}

impl Running {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, ended) = (runtime.handle().clone(), CancellationToken::new());
        let end_on_drop = ended.clone().drop_guard();
        thread::Builder::new().name("pillion-proxy".to_owned()).spawn(move || {
            runtime.block_on(ended.run_until_cancelled(future::pending::<()>()));
        })?;
        Ok(Self { handle, _end_on_drop: end_on_drop })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_thread_ends_with_its_owner_and_drops_what_runs_there() {
        let owner = ProxyRuntime::default();
        let (sender, receiver) = mpsc::channel();
        owner.handle().unwrap().spawn(async move {
            sender.send(thread::current().id()).unwrap();
            future::pending::<()>().await;
            drop(sender);
        });
        assert_ne!(receiver.recv().unwrap(), thread::current().id());
        drop(owner);
        receiver.recv().unwrap_err();
    }
}
