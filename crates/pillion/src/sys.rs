//! What the operating systems do differently, as the same few verbs: a process group that is spawned, watched, asked,
//! killed and seen empty, and pipes that are read. No policy lives here; all of the crate's `unsafe` does.
//!
//! | | Linux | macOS | Windows |
//! | --- | --- | --- | --- |
//! | who holds it together | a guard process, child subreaper | a guard process | job object |
//! | the leader's end | told by the guard | told by the guard | process handle |
//! | ask | end of stdin, SIGTERM to all | the same, to all that it finds | end of stdin |
//! | kill | SIGKILL to all, until none is left | the same | `TerminateJobObject` |
//! | nothing is left | told by the guard: it has no child | told by the guard: it finds nobody, every 20 ms | the job's count, every 10 ms |
//! | when we are killed | the guard asks, waits, kills | the same | the job is killed |
//!
//! Where the guard cannot run there is a bare process group, which is all that is asked, killed and seen empty, by pidfds and
//! `/proc` or by SIGCHLD and `proc_listpgrppids`. The dead leader is kept as a zombie until its group is gone, so that the
//! group's number stays ours and no stranger can be signalled. When we are killed there, stdin ends and nothing more.

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
pub(crate) use unix::{Group, OutputPipe};
#[cfg(windows)]
pub(crate) use windows::{Group, OutputPipe};

/// What to start.
#[derive(Debug)]
#[cfg_attr(
    windows,
    expect(dead_code, reason = "a job object is told neither grace nor mark, and takes no listener")
)]
pub(crate) struct SpawnRequest {
    /// The program, its arguments, environment and directory; its standard streams are ours to set.
    pub(crate) command: std::process::Command,
    /// How long everything has to end by itself once nobody is left to say so.
    pub(crate) grace: std::time::Duration,
    /// An entry of its environment, as `NAME=value`, that nothing else on the machine has.
    pub(crate) mark: String,
    /// What the program is to listen on, where that can be handed over: by a guard alone.
    pub(crate) listener: Option<crate::listener::Listener>,
}

/// A group just spawned, with this side's ends of its leader's output.
pub(crate) struct Spawned {
    pub(crate) group: Group,
    pub(crate) stdout: OutputPipe,
    pub(crate) stderr: OutputPipe,
    /// Why nobody will clean up when this program is killed, where that is so.
    pub(crate) unguarded: Option<String>,
}
