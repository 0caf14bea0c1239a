//! `fake-host` without pillion: an app that starts its sidecar in the usual way, for comparison. The command line is
//! described in `integration_tests::dying_host`.
//!
//! It does what tauri-plugin-shell 2 does for an app that stops its sidecar on `RunEvent::Exit`, and a little more:
//!
//! - It starts the sidecar with `std::process::Command` and three pipes, and drains the output on threads of its own. The
//!   sidecar counts as ready when `BACKEND_PORT:` was read.
//! - It stops the sidecar by SIGKILL, as `CommandChild::kill` does, without a request to stop and without a grace period.
//! - **More:** the sidecar leads a process group, and the host kills the whole group instead of the child alone.
//! - **More:** the exit event runs at each end that the app causes itself: the end of `main` after any drop or leak, `exit`,
//!   a failed start, and a panic on another thread that a hook turns into an exit. Tauri sends the event for
//!   `AppHandle::exit` and for the last window, but not for `std::process::exit`.
//!
//! A signal, an abort, a fault or a panic on the main thread causes no event: Tauri handles none of these either. The
//! sidecar's stdin then ends, but most servers do not read it.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use integration_tests::dying_host::{DyingHost, SidecarSettings, run_host};
use rustix::process::{Pid, Signal, kill_process_group};

fn main() {
    run_host::<BaselineHost>();
}

struct BaselineHost {
    /// `None` once it was reaped: another process may then have its pid.
    child: Arc<Mutex<Option<Child>>>,
    announced: mpsc::Receiver<()>,
    ready_timeout: Duration,
}

impl DyingHost for BaselineHost {
    #[expect(
        clippy::disallowed_methods,
        reason = "a spawn without a supervisor is the subject of the comparison"
    )]
    fn start(settings: SidecarSettings) -> Self {
        let mut command = Command::new(settings.program);
        command.args(settings.arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (announce, announced) = mpsc::channel();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.starts_with("BACKEND_PORT:") {
                    let _ = announce.send(());
                }
            }
        });
        thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        Self { child: Arc::new(Mutex::new(Some(child))), announced, ready_timeout: settings.ready_timeout }
    }

    fn ready(&self) -> bool {
        self.announced.recv_timeout(self.ready_timeout).is_ok()
    }

    fn begin_to_stop(&self) {
        if let Some(child) = &*self.child.lock().unwrap() {
            kill_group(child);
        }
    }

    fn stop(&self) {
        self.exit_event()();
    }

    fn exit_event(&self) -> Box<dyn Fn() + Send + Sync> {
        let child = Arc::clone(&self.child);
        Box::new(move || {
            if let Some(mut child) = child.lock().unwrap().take() {
                kill_group(&child);
                child.wait().unwrap();
            }
        })
    }
}

/// The child was not reaped yet, so its pid is still the id of its group.
fn kill_group(child: &Child) {
    kill_process_group(Pid::from_child(child), Signal::KILL).unwrap();
}
