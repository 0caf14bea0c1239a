//! Starts sidecars with their steps, and apps with their deaths.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use pillion::{Events, Exit, Program, Restart, SidecarEvent, Spec, State, Status, Supervisor};
use windows_tests::{ReportServer, Reporter};
use winsafe::{HPROCESS, HPROCESSLIST, co, guard::CloseHandleGuard};

pub(crate) const SIDECAR: &str = env!("CARGO_BIN_EXE_windows-sidecar");

/// The app.
pub(crate) const HOST: &str = env!("CARGO_BIN_EXE_windows-host");

/// The exit code of a killed process.
pub(crate) const KILLED: Exit = Exit::with_code(1);
/// A grace period that expires while the sidecar ignores the stop.
pub(crate) const SHORT: Duration = Duration::from_millis(200);
/// A grace period that expires for a part of the sidecar, after the other part has ended on request.
pub(crate) const PARTIAL: Duration = Duration::from_secs(5);

/// The arguments for these steps, with the port of the report server for `PORT`.
pub(crate) fn words(steps: &str, reports: &ReportServer) -> Vec<String> {
    steps.replace("PORT", &reports.port().to_string()).split(' ').map(str::to_owned).collect()
}

/// A sidecar without a limit on its stop and without restarts.
pub(crate) fn sidecar(steps: &str, reports: &ReportServer) -> Spec {
    spec(program(steps, reports))
}

/// As [`sidecar`], for this program.
pub(crate) fn spec(program: Program) -> Spec {
    Spec::run("sidecar", program).grace(Duration::MAX).restart(Restart::Never)
}

/// `windows-sidecar` with these steps.
pub(crate) fn program(steps: &str, reports: &ReportServer) -> Program {
    Program::new(SIDECAR).args(words(steps, reports))
}

/// Starts a sidecar, and waits until it is ready.
pub(crate) async fn ready(spec: Spec) -> (Supervisor, Events) {
    let (supervisor, events) = Supervisor::start(spec);
    supervisor.ready().await.unwrap();
    (supervisor, events)
}

/// Waits for the first status that fulfils the condition.
pub(crate) async fn status(events: &mut Events, fits: impl Fn(&Status) -> bool) -> Status {
    loop {
        match events.next().await.expect("the status comes before the end of the events") {
            SidecarEvent::Status(status) if fits(&status) => return *status,
            _ => {}
        }
    }
}

/// Waits for the first status with this state.
pub(crate) async fn state(events: &mut Events, state: State) -> Status {
    status(events, |status| status.state == state).await
}

/// An app that lives until its test ends it.
pub(crate) struct HostProcess {
    process: Child,
    reporter: Reporter,
}

impl HostProcess {
    /// Starts an app with this sidecar, and waits until it reaches the moment of its death. `updater` holds the steps of a
    /// process that the app starts without a supervisor.
    pub(crate) async fn start(
        reports: &ReportServer,
        moments: [&str; 2],
        steps: &str,
        updater: Option<&str>,
    ) -> Self {
        Self::start_with(Path::new(SIDECAR), reports, moments, steps, updater).await
    }

    /// As [`start`](Self::start), with a copy of the sidecar's program.
    pub(crate) async fn start_with(
        program: &Path,
        reports: &ReportServer,
        moments: [&str; 2],
        steps: &str,
        updater: Option<&str>,
    ) -> Self {
        let updater = updater.map(|steps| ("UPDATER", words(steps, reports).join(" ")));
        Self::spawn(Path::new(HOST), program, reports, moments, steps, updater.as_slice()).await
    }

    /// Starts an app whose own program is its guard: this copy of the host, with these variables.
    pub(crate) async fn with_guard(
        host: &Path,
        reports: &ReportServer,
        moments: [&str; 2],
        steps: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let own = [("OWN_GUARD", "1")];
        let variables = own.iter().chain(variables).map(|(name, value)| (*name, (*value).to_owned()));
        let variables: Vec<_> = variables.collect();
        Self::spawn(host, Path::new(SIDECAR), reports, moments, steps, &variables).await
    }

    #[expect(clippy::disallowed_methods, reason = "the app itself supervises")]
    async fn spawn(
        host: &Path,
        program: &Path,
        reports: &ReportServer,
        [moment, death]: [&str; 2],
        steps: &str,
        variables: &[(&str, String)],
    ) -> Self {
        let mut command = Command::new(host);
        command.args([&reports.port().to_string(), moment, death]).arg(program).args(words(steps, reports));
        command.stdin(Stdio::null()).stderr(Stdio::null()).envs(variables.iter().cloned());
        let process = command.spawn().unwrap();
        Self { process, reporter: reports.wait_for("host").await }
    }

    /// The processes of its own program that it has started: its guard.
    pub(crate) fn guards(&self) -> Vec<CloseHandleGuard<HPROCESS>> {
        let mut list = HPROCESSLIST::CreateToolhelp32Snapshot(co::TH32CS::SNAPPROCESS, None).unwrap();
        let processes = list.iter_processes().map(Result::unwrap);
        let guards = processes.filter(|process| {
            process.th32ParentProcessID == self.process.id()
                && process.szExeFile().starts_with("windows-host")
        });
        let rights = co::PROCESS::SYNCHRONIZE | co::PROCESS::TERMINATE;
        guards.map(|guard| HPROCESS::OpenProcess(rights, false, guard.th32ProcessID).unwrap()).collect()
    }

    /// Lets it end itself.
    pub(crate) async fn ends_itself(mut self) {
        self.reporter.resume().await;
        self.reporter.wait_death().await;
    }

    /// Kills it: the standard library calls `TerminateProcess`.
    pub(crate) async fn terminated(mut self) {
        self.process.kill().unwrap();
        self.reporter.wait_death().await;
    }
}
