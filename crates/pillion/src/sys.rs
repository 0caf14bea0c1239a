//! What the operating systems do differently, as the same few verbs: a process group that is spawned, watched, asked,
//! killed and seen empty, and pipes that are read. No policy lives here; all of the crate's `unsafe` does.
//!
//! | | Linux | macOS | Windows |
//! | --- | --- | --- | --- |
//! | the group | process group | process group | job object |
//! | the leader's end | pidfd | SIGCHLD and `waitid` | process handle, every 10 ms |
//! | ask | SIGTERM to the group | SIGTERM to the group | nothing: the end of stdin is the request |
//! | kill | SIGKILL to the group | SIGKILL to the group | `TerminateJobObject` |
//! | nothing is left | `/proc`, pidfds | `proc_listpgrppids`, every 10 ms | not asked: the rest is killed with the job |
//!
//! On Unix the dead leader is kept as a zombie until its group is gone, so that the group's number stays ours and no
//! stranger can be signalled.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod macos;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(all(unix, not(target_os = "linux")))]
use macos as platform;
#[cfg(unix)]
pub(crate) use unix::{Group, Pipe};
#[cfg(windows)]
pub(crate) use windows::{Group, Pipe};

/// A group just spawned, with this side's ends of its leader's standard streams.
pub(crate) struct Spawned {
    pub(crate) group: Group,
    /// The lifeline: dropping it ends the leader's stdin.
    pub(crate) lifeline: Lifeline,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

/// The writing end of the leader's stdin.
#[cfg(unix)]
pub(crate) type Lifeline = std::process::ChildStdin;
/// The writing end of the leader's stdin.
#[cfg(windows)]
pub(crate) type Lifeline = tokio::process::ChildStdin;
