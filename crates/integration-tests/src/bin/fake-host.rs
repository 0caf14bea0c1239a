//! A plain program on the `pillion` crate. It dies in the way that its arguments say, and the test observes what becomes of
//! its sidecar. The command line is described in `integration_tests::dying_host`.
//! `FAKE_HOST_REPORTS` is the folder in which it keeps its exit reports, and in `FAKE_HOST_LOGS` it keeps them and log files, of 256 KiB each. With `FAKE_HOST_PRIVATE` its sidecar has a token.
//! `FAKE_HOST_STOP` declares the stop request: `signal SIGINT`, `stdin quit` or `http POST /shutdown`.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::Path,
};

use integration_tests::dying_host::{DyingHost, OWN_GUARD_VARIABLE, SidecarSettings, run_host};
use pillion::{LogFiles, Program, Restart, Spec, State, Status, StopRequest, Supervisor};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

fn main() {
    if let Some(own_guard) = std::env::var_os(OWN_GUARD_VARIABLE) {
        pillion::guard::run_if_asked();
        if own_guard == "only" {
            setrlimit(Resource::Fsize, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
        }
    }
    run_host::<PillionHost>();
}

/// Needs no exit event: pillion's guarantee does not depend on one.
struct PillionHost {
    // Fields drop in this order, as variables that are declared in the reverse order would.
    supervisor: Supervisor,
    runtime: Runtime,
}

impl DyingHost for PillionHost {
    fn start(settings: SidecarSettings) -> Self {
        let stop = std::env::var("FAKE_HOST_STOP").map_or_else(
            |_| StopRequest::default(),
            |stop| {
                let mut fields = stop.splitn(2, ' ');
                match (fields.next().unwrap(), fields.next().unwrap()) {
                    ("signal", signal) => StopRequest::default().signal(signal.parse().unwrap()),
                    ("stdin", line) => StopRequest::default().stdin_line(line),
                    ("http", request) => StopRequest::default().http(request.parse().unwrap()),
                    (other, _) => panic!("no such stop request: {other}"),
                }
            },
        );
        let program = Program::new(settings.program).args(settings.arguments).stop(stop);
        let spec = Spec::run("sidecar", program.private(std::env::var_os("FAKE_HOST_PRIVATE").is_some()))
            .ready_timeout(settings.ready_timeout)
            .grace(settings.grace)
            // A restart while the app is alive would look like a survivor.
            .restart(Restart::Never);
        let spec = match std::env::var_os("FAKE_HOST_REPORTS") {
            Some(folder) => spec.keep_exit_reports(folder),
            None => spec,
        };
        let spec = match std::env::var_os("FAKE_HOST_LOGS") {
            Some(folder) => {
                let small = NonZeroU64::new(256 * 1024).unwrap();
                let files = LogFiles::new(&folder).max_bytes(small).max_files(NonZeroU32::MAX);
                spec.log_files(files).keep_exit_reports(Path::new(&folder).join("reports"))
            }
            None => spec,
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let supervisor = runtime.block_on(async {
            let (supervisor, mut events) = Supervisor::start(spec);
            // An app that shows events reads them all the time.
            tokio::spawn(async move { while events.next().await.is_some() {} });
            supervisor
        });
        Self { supervisor, runtime }
    }

    fn started(&self) {
        let mut changes = self.supervisor.watch();
        let starts = |status: Status| status.state == State::Starting && status.pid.is_none();
        self.runtime.block_on(async { while changes.next().await.is_some_and(starts) {} });
    }

    fn ready(&self) -> bool {
        self.runtime.block_on(self.supervisor.ready()).is_ok()
    }

    fn begin_to_stop(&self) {
        self.runtime.block_on(async {
            let supervisor = self.supervisor.clone();
            tokio::spawn(async move { supervisor.stop().await });
            let mut changes = self.supervisor.watch();
            while changes.next().await.is_some_and(|status| status.state == State::Ready) {}
        });
    }

    fn stop(&self) {
        let _ = self.runtime.block_on(self.supervisor.stop());
    }
}
