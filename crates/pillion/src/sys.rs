//! What the operating systems do differently, as the same few verbs: a process group that is spawned, watched, asked,
//! killed and seen empty, and pipes that are read. No policy lives here; all of the crate's `unsafe` does.
//!
//! | | Linux | macOS | Windows |
//! | --- | --- | --- | --- |
//! | who holds it together | a guard process, child subreaper | process group | job object |
//! | the leader's end | told by the guard | SIGCHLD and `waitid` | process handle |
//! | ask | end of stdin, SIGTERM to all | end of stdin, SIGTERM to the group | end of stdin |
//! | kill | SIGKILL to all, until none is left | SIGKILL to the group | `TerminateJobObject` |
//! | nothing is left | told by the guard: it has no child | `proc_listpgrppids`, every 10 ms | the job's count, every 10 ms |
//! | when we are killed | the guard asks, waits, kills | stdin ends, nothing more | the job is killed |
//!
//! A Linux that cannot run the guard is treated as macOS is, with pidfds and `/proc`. There the dead leader is kept as a
//! zombie until its group is gone, so that the group's number stays ours and no stranger can be signalled.

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

/// What to start.
#[derive(Debug)]
#[cfg_attr(windows, expect(dead_code, reason = "a job object is told neither grace nor mark"))]
pub(crate) struct Order {
    /// The program, its arguments, environment and directory; its standard streams are ours to set.
    pub(crate) command: std::process::Command,
    /// How long everything has to end by itself once nobody is left to say so.
    pub(crate) grace: std::time::Duration,
    /// An entry of its environment, as `NAME=value`, that nothing else on the machine has.
    pub(crate) mark: String,
}

/// A group just spawned, with this side's ends of its leader's output.
pub(crate) struct Spawned {
    pub(crate) group: Group,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
    /// Why nobody will clean up when this program is killed, where that is so.
    pub(crate) unguarded: Option<String>,
}
