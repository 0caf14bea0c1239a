//! The app of `fake-host` without pillion: what an app does that starts its sidecar by the book, and which guarantees it
//! has from that. The command line is that of `integration_tests::doomed`.
//!
//! It does what tauri-plugin-shell 2 does for an app that stops its sidecar on `RunEvent::Exit`, and a little more:
//!
//! - it starts the sidecar with `std::process::Command`, all three streams piped, and drains its output on threads of its
//!   own; ready means that `BACKEND_PORT:` was read;
//! - to stop it, it kills it (SIGKILL), as `CommandChild::kill` does. Nobody is asked, and there is no grace period;
//! - **more**: the sidecar leads a process group of its own, and all of the group is killed, not the child alone;
//! - **more**: the exit event comes with every end that the app brings about itself: the end of `main` whatever was
//!   dropped or leaked, `exit`, a failed start, and a panic on another thread that a hook turns into an exit. Tauri sends
//!   it for `AppHandle::exit` and the last window, but not for `std::process::exit`.
//!
//! No event comes with a signal, an abort, a fault or a panic on the main thread: Tauri handles none of these either. The
//! sidecar's stdin ends then, which servers do not look at.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part has to fail loudly")]

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use integration_tests::doomed::{Doomed, Order, perform};
use rustix::process::{Pid, Signal, kill_process_group};

fn main() {
    perform::<Host>();
}

struct Host {
    /// Nothing once it was waited for: its number may be somebody else's then.
    child: Arc<Mutex<Option<Child>>>,
    announced: mpsc::Receiver<()>,
    ready_timeout: Duration,
}

impl Doomed for Host {
    #[expect(clippy::disallowed_methods, reason = "what comes of that is what is measured")]
    fn start(order: Order) -> Self {
        let mut command = Command::new(order.program);
        command.args(order.arguments).process_group(0);
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
        Self { child: Arc::new(Mutex::new(Some(child))), announced, ready_timeout: order.ready_timeout }
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

/// The child was not waited for, so that its number is still its group's.
fn kill_group(child: &Child) {
    kill_process_group(Pid::from_child(child), Signal::KILL).unwrap();
}
