//! Apps to kill: single ones with a sidecar of the test's choice, and scenarios, which run in parallel.

use std::{os::fd::OwnedFd, process::Stdio, time::Duration};

use integration_tests::{
    ProcessTree, ReportServer, TestMarker,
    orphans::{Programs, Scenario},
    run,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

/// A grace period that never expires during a test.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn programs() -> Programs {
    Programs::built().unwrap()
}

/// Runs all scenarios. Fails with the names of those that left a survivor, or killed a sidecar without a request to stop.
pub(crate) fn assert_no_survivors(scenarios: impl IntoIterator<Item = Scenario>) {
    run(async {
        let mut running = JoinSet::new();
        for scenario in scenarios {
            running.spawn(async move { (scenario, scenario.run(&programs()).await) });
        }
        let mut failures = Vec::new();
        while let Some(ended) = running.join_next().await {
            let (scenario, outcome) = ended.unwrap();
            match outcome {
                Err(error) => failures.push(format!("{scenario:?}: {error}")),
                Ok(outcome) if !outcome.survivors.is_empty() => {
                    failures.push(format!("{scenario:?}: still alive: {:?}", outcome.survivors));
                }
                Ok(outcome) if outcome.graceful == Some(false) => {
                    failures.push(format!("{scenario:?}: the sidecar was killed without a request to stop"));
                }
                Ok(_) => {}
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

/// A `fake-host`. It reports `host` when its sidecar is ready, and waits until it is killed.
pub(crate) struct FakeHost {
    pub(crate) tree: ProcessTree,
    child: Child,
}

impl FakeHost {
    /// Starts it with a `fake-sidecar` that runs these steps, and waits until the sidecar is ready.
    pub(crate) async fn ready(reports: &ReportServer, grace: Duration, steps: &str) -> Self {
        Self::ready_with(reports, grace, None, &fake_sidecar(steps)).await
    }

    /// Starts it with this stop request (see `fake-host`) and this program as its sidecar, and waits until the sidecar is ready.
    pub(crate) async fn ready_with(
        reports: &ReportServer,
        grace: Duration,
        stop: Option<&str>,
        program: &[String],
    ) -> Self {
        let host = Self::start(reports, grace, stop, program);
        reports.wait_for("host").await;
        host
    }

    /// As [`ready_with`](Self::ready_with), without the wait.
    pub(crate) fn start(
        reports: &ReportServer,
        grace: Duration,
        stop: Option<&str>,
        program: &[String],
    ) -> Self {
        let variable = stop.map(|stop| ("FAKE_HOST_STOP", stop.to_owned()));
        Self::start_with(reports, grace, variable, program)
    }

    /// As [`start`](Self::start), with other variables of `fake-host`.
    pub(crate) fn start_with<'a>(
        reports: &ReportServer,
        grace: Duration,
        variables: impl IntoIterator<Item = (&'a str, String)>,
        program: &[String],
    ) -> Self {
        Self::start_in(&[], reports, grace, variables, program)
    }

    /// The same, as the further arguments of a program that becomes it.
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    pub(crate) fn start_in<'a>(
        sandbox: &[&str],
        reports: &ReportServer,
        grace: Duration,
        variables: impl IntoIterator<Item = (&'a str, String)>,
        program: &[String],
    ) -> Self {
        let programs = programs();
        let tree = ProcessTree::new(&programs.sidecar);
        let mut words = sandbox.iter().map(AsRef::as_ref).chain([programs.host.as_os_str()]);
        let mut host = Command::new(words.next().unwrap());
        host.args(words)
            .args([grace.as_millis().to_string(), reports.port().to_string()])
            .args(["ready", "park"])
            .args(program)
            .env(TestMarker::VARIABLE, tree.marker())
            .env("FAKE", &programs.sidecar)
            .stdin(Stdio::null());
        host.envs(variables);
        Self { tree, child: host.spawn().unwrap() }
    }

    /// Stops it, as a debugger does (SIGSTOP).
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap()
    }

    /// Copies of its descriptors, as a process has them that it forks.
    pub(crate) fn copy_descriptors(&self) -> Vec<OwnedFd> {
        let host = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
        let copies = (3..256).filter_map(|fd| pidfd_getfd(&host, fd, PidfdGetfdFlags::empty()).ok());
        let copies: Vec<_> = copies.collect();
        assert!(!copies.is_empty());
        copies
    }

    /// Kills it, and reaps it.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// `fake-sidecar` with these steps, separated by spaces.
pub(crate) fn fake_sidecar(steps: &str) -> Vec<String> {
    let program = programs().sidecar.into_os_string().into_string().unwrap();
    [program].into_iter().chain(steps.split_ascii_whitespace().map(str::to_owned)).collect()
}
