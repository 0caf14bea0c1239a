//! Starts the process of a sidecar: its environment, its launch, and the explanation of a failed launch.

pub(crate) mod check_command;
pub(crate) mod environment;
mod executable;
pub(crate) mod launch;
pub(crate) mod login_shell;
pub(crate) mod oom_kill;
pub(crate) mod program_digest;
mod run_copy;
pub(crate) mod spawn_error;
