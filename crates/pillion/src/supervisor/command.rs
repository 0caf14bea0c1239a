//! What a handle asks of the actor.

use tokio::sync::oneshot;

use crate::{
    spec::Spec,
    state::Requester,
    status::{Failure, StopOutcome},
};

/// A request of a handle.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start, or stop and start again. Answered as soon as the restart is under way.
    Restart(oneshot::Sender<()>),
    /// Stop, and start another specification. Answered as soon as the restart is under way.
    RestartTo(Box<Spec>, oneshot::Sender<()>),
    /// Start a candidate, and switch to it once it is ready. Answered after the switch, or when the candidate has failed.
    Swap(Option<Box<Spec>>, oneshot::Sender<Result<(), Failure>>),
    /// Stop with grace, for this part of the program. Answered when no process is left.
    Stop(Requester, oneshot::Sender<StopOutcome>),
    /// Kill. Answered when no process is left.
    Kill(oneshot::Sender<StopOutcome>),
    /// A use of a sidecar on demand begins. Answered when it is counted, so that the sidecar is not stopped for lack of a use.
    BeginUse(oneshot::Sender<()>),
    /// A use of a sidecar on demand has ended.
    EndUse,
    /// Refuse every start from now on.
    RefuseStarts,
    /// Stop with grace, and refuse every start from now on. Answered when no process is left.
    Close(oneshot::Sender<StopOutcome>),
}
