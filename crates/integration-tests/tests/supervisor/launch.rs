//! The launch of a program may take long, for example on a slow file system. Meanwhile the runtime runs other tasks, and a stop
//! can be requested.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use integration_tests::{ProcessTree, TEST_TIMEOUT};
use pillion::{Events, SidecarEvent, State, StopOutcome, Supervisor};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe::Receiver,
    runtime,
};

use crate::support::{first, tree};

/// Holds a write lease on the file until its stdin ends: until then, no process can open the file or execute it (`fcntl(2)`, `F_SETLEASE`).
///
/// It waits for the signal instead of handling it: a handler of Python does not run if the signal comes just before a blocking read.
const LEASE: &str = r#"
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
signal.sigwait([signal.SIGIO])
print("opened", flush=True)
sys.stdin.read()
"#;

/// A program whose launch takes until it is released. The kernel waits up to 45 s (`lease-break-time`, `proc_sys_fs(5)`).
struct SlowLaunch {
    tree: ProcessTree,
    _folder: TempDir,
    holder: Child,
    release: Option<ChildStdin>,
    lines: Lines<BufReader<Receiver>>,
}

impl SlowLaunch {
    /// Starts a sidecar, and waits until its guard has asked the system to execute the program.
    async fn begin() -> (Self, Supervisor, Events) {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let program = folder.path().join("slow");
        fs::write(&program, "#!/bin/sh\nexec \"$FAKE\" listen ok announce term exit 0\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test owns the child and reaps it")]
        let mut holder = Command::new("python3")
            .args(["-c", LEASE])
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (release, lines) = (holder.stdin.take(), lines(holder.stdout.take().unwrap()));
        let mut slow = Self { tree, _folder: folder, holder, release, lines };
        slow.wait_for("leased").await;
        let (supervisor, events) = Supervisor::start(slow.tree.spec(slow.tree.program(&program)));
        // On the only thread of this runtime.
        slow.wait_for("opened").await;
        assert_eq!(supervisor.status().state, State::Starting);
        (slow, supervisor, events)
    }

    async fn wait_for(&mut self, line: &str) {
        assert_eq!(self.lines.next_line().await.unwrap().as_deref(), Some(line));
    }

    fn release(&mut self) {
        drop(self.release.take());
        self.holder.wait().unwrap();
    }
}

fn lines(output: ChildStdout) -> Lines<BufReader<Receiver>> {
    BufReader::new(Receiver::from_owned_fd(output.into()).unwrap()).lines()
}

/// Runs the body of a test on a runtime whose only thread is the test's own.
fn run_on_one_thread(body: impl Future<Output = ()>) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, body).await.expect("the test hangs") });
}

#[test]
fn a_slow_launch_does_not_block_the_runtime() {
    run_on_one_thread(async {
        let (mut slow, supervisor, mut events) = SlowLaunch::begin().await;
        slow.release();
        supervisor.ready().await.unwrap();
        // A launch that was given up would have been repeated without a guard.
        first(&mut events, |event| match event {
            SidecarEvent::Notice(notice) => panic!("{notice}"),
            SidecarEvent::Status(status) => (status.state == State::Ready).then_some(()),
            _ => None,
        })
        .await;
        let StopOutcome::Graceful(_) = supervisor.stop().await else { panic!("it was killed") };
        slow.tree.assert_dead();
    });
}

#[test]
fn a_stop_during_a_slow_launch_ends_the_launched_process() {
    run_on_one_thread(async {
        let (mut slow, supervisor, _events) = SlowLaunch::begin().await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.kill().await }
        });
        let mut watch = supervisor.watch();
        while watch.next().await.unwrap().state != State::Stopping {}
        slow.release();
        let StopOutcome::Killed(_) = stop.await.unwrap() else { panic!("it was not launched") };
        assert_eq!(supervisor.status().state, State::Stopped);
        slow.tree.assert_dead();
    });
}
