//! A sidecar under a guard: a small process between this program and the sidecar, which outlives this program and cleans up.
//!
//! `pillion-guard/program/guard.rs` describes the guard and the messages on the control socket.

mod control;
mod launch;

use std::{
    io::{self, Write},
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use self::{
    control::{GuardCommand, GuardReport, ReportReader, ReportSocket},
    launch::{Launched, Way},
};
use super::super::{SpawnRequest, Used, platform};
use crate::{status::Exit, task::task};

/// A sidecar under a guard.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Pid,
    leader: Pid,
    /// The control socket. When it ends, the guard terminates the sidecar, and kills it after the grace period.
    control: Arc<UnixStream>,
    report: watch::Receiver<GuardReport>,
}

/// A guard that runs, the read ends of the sidecar's output, and what it cannot do.
type Started = (Guarded, [OwnedFd; 2], Option<String>);

impl Guarded {
    /// Starts a guard, and the program. The outer error is the program's; the inner one says why no guard runs.
    pub(super) fn spawn(request: &SpawnRequest) -> io::Result<Result<Started, String>> {
        let mut failures = Vec::new();
        for way in Way::all() {
            match way.start(request)? {
                None => {}
                Some(Ok(launched)) => return Self::watch(request, launched).map(Ok),
                // Another guard may run.
                Some(Err(why)) => {
                    tracing::debug!(?way, why, "no guard");
                    failures.push(why);
                }
            }
        }
        Ok(Err(format!("the guard could not be started: {}", failures.join("; "))))
    }

    /// Reads the reports of the guard.
    fn watch(request: &SpawnRequest, launched: Launched) -> io::Result<Started> {
        let Launched { guard, leader, identity, control, outputs, limited } = launched;
        let (sender, report) = watch::channel(GuardReport::of(leader, identity));
        let reader = ReportReader::new(guard, sender, request.marker.clone());
        let control = Arc::new(control);
        let socket = ReportSocket::new(Arc::clone(&control))?;
        tokio::spawn(task(reader.run(socket)));
        let limited = limited.or_else(platform::guard_limitation);
        Ok((Self { guard, leader, control, report }, outputs, limited))
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    pub(super) fn guard(&self) -> Pid {
        self.guard
    }

    /// The processes of the sidecar that are known by their identity.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn known(&self) -> Vec<(i32, u64)> {
        self.report.borrow().known()
    }

    /// Whether the guard has said that no process of the sidecar is left.
    pub(super) fn none_left(&self) -> bool {
        self.report.borrow().none_left
    }

    pub(super) fn used(&self) -> Used {
        self.report.borrow().used
    }

    pub(super) fn core_dumped(&self) -> Option<bool> {
        self.report.borrow().core_dumped
    }

    pub(super) async fn wait_exit(&self) -> Exit {
        self.reported(|report| report.exit).await
    }

    pub(super) async fn wait_empty(&self) {
        self.reported(|report| report.gone.then_some(())).await;
    }

    /// Waits until the report contains this part.
    async fn reported<T>(&self, part: impl Fn(&GuardReport) -> Option<T>) -> T {
        let mut report = self.report.clone();
        if let Ok(report) = report.wait_for(|report| part(report).is_some()).await
            && let Some(part) = part(&report)
        {
            return part;
        }
        // The reader's task was dropped: the runtime shuts down, together with the calling task. The caller must not take
        // this for the sidecar's end.
        std::future::pending().await
    }

    pub(super) fn terminate_leader(&self) {
        self.send_command(GuardCommand::TerminateLeader);
    }

    pub(super) fn terminate_group(&self) {
        self.send_command(GuardCommand::TerminateGroup);
    }

    pub(super) fn set_http_stop(&self, request: &[u8]) {
        self.send_command(GuardCommand::SetHttpStop(request));
    }

    pub(super) fn http_stop_sent(&self) {
        self.send_command(GuardCommand::HttpStopSent);
    }

    pub(super) fn kill(&self) {
        self.send_command(GuardCommand::Kill);
    }

    fn send_command(&self, command: GuardCommand<'_>) {
        let Some(bytes) = command.encode() else { return };
        // Also a guard that has said that no process is left, and is not gone: it completes its files.
        self.wake();
        if self.none_left() {
            return;
        }
        // Never blocks: the socket buffers many commands. An error means that the guard has ended.
        let _ = (&*self.control).write_all(&bytes);
    }

    /// Kills the guard. `ReportReader` notices its death, and kills what it guarded.
    pub(super) fn kill_guard(&self) {
        let report = self.report.borrow();
        if !report.gone {
            let _ = kill_process(self.guard, Signal::KILL);
        }
    }

    /// Continues the guard, in case it was stopped (SIGSTOP).
    fn wake(&self) {
        // The guard is reaped under the lock of this channel. While the report is borrowed, its process id stays valid.
        let report = self.report.borrow();
        if !report.gone {
            let _ = kill_process(self.guard, Signal::CONT);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Shut down, because closing is not enough: the reader's task holds it as well.
        let _ = self.control.shutdown(Shutdown::Write);
        // A stopped guard does not see the end of the socket.
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, time::Duration};

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::{
        super::{OutputPipe, test_request},
        *,
    };

    /// A shell that ignores SIGTERM, has written a line, and waits for the end of its stdin.
    async fn sidecar() -> (Guarded, OutputPipe) {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo up; read line"]);
        start(command).await
    }

    async fn start(command: Command) -> (Guarded, OutputPipe) {
        let (group, [stdout, _stderr], _) = Guarded::spawn(&test_request(command)).unwrap().unwrap();
        let mut output = OutputPipe::new(stdout).unwrap();
        let mut line = [0; 3];
        assert_eq!(read(&mut output, &mut line).await, 3);
        (group, output)
    }

    async fn read(output: &mut OutputPipe, buffer: &mut [u8]) -> usize {
        loop {
            output.readable().await.unwrap();
            if let Some(count) = output.read(buffer) {
                return count.unwrap();
            }
        }
    }

    /// Waits until no process holds the write end. The guard reads as well.
    async fn end(mut output: OutputPipe) {
        while read(&mut output, &mut [0; 64]).await > 0 {}
    }

    #[tokio::test]
    async fn drop_makes_the_guard_end_the_sidecar() {
        let (group, output) = sidecar().await;
        drop(group);
        end(output).await;
    }

    #[tokio::test]
    async fn drop_continues_a_stopped_guard() {
        let (group, output) = sidecar().await;
        kill_process(group.guard, Signal::STOP).unwrap();
        waitid(WaitId::Pid(group.guard), WaitIdOptions::STOPPED).unwrap();
        drop(group);
        end(output).await;
    }

    #[tokio::test]
    async fn the_guard_reads_the_output_after_the_supervisor() {
        // Dies of SIGPIPE if a line has no reader, and says through a socket that it did not.
        let script = "import signal, socket, sys\n\
             signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n\
             print('up', flush=True)\n\
             sys.stdin.read()\n\
             for _ in range(1000): print('x' * 1000, flush=True); print('x' * 1000, flush=True, file=sys.stderr)\n\
             socket.create_connection(('127.0.0.1', int(sys.argv[1]))).sendall(b'saved')";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", script, &listener.local_addr().unwrap().port().to_string()]);
        let (group, output) = start(command).await;
        drop((group, output));
        let saved = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
        saved.expect("the sidecar lives until it has saved").unwrap();
    }
}
