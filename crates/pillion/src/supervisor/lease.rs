//! Uses of a sidecar that runs on demand.

use tokio::sync::{mpsc, oneshot};

use crate::supervisor::command::Command;

/// A use of a sidecar that runs [on demand](crate::Spec::on_demand), for as long as this value exists. It has no effect on other sidecars.
///
/// [`Supervisor::lease`](crate::Supervisor::lease) returns it. It does not keep the sidecar from being stopped on request, nor when the
/// last [`Supervisor`](crate::Supervisor) is dropped.
#[derive(Debug)]
#[must_use = "the use ends when this is dropped"]
pub struct Lease {
    /// Where the end of the use is reported.
    commands: Option<mpsc::WeakUnboundedSender<Command>>,
}

impl Lease {
    /// A use of a sidecar that does not count them.
    pub(crate) fn uncounted() -> Self {
        Self { commands: None }
    }

    /// Begins a use. The receiver learns when the sidecar will not be stopped for lack of a use any more: what its snapshot says is
    /// about this use only from then on. It fails if the sidecar accepts no use any more.
    pub(crate) fn begin(commands: &mpsc::UnboundedSender<Command>) -> (Self, oneshot::Receiver<()>) {
        let (counted, is_counted) = oneshot::channel();
        // An error means that the sidecar is down for good; the receiver reports it.
        let _ = commands.send(Command::BeginUse(counted));
        (Self { commands: Some(commands.downgrade()) }, is_counted)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.as_ref().and_then(mpsc::WeakUnboundedSender::upgrade) {
            let _ = commands.send(Command::EndUse);
        }
    }
}
