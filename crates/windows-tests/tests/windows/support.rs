//! Sidecars by their steps, and apps by their deaths.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use pillion::{Events, Exit, Program, Restart, SidecarEvent, Spec, State, Status, Supervisor};
use windows_tests::{ReportServer, Reporter};

const SIDECAR: &str = env!("CARGO_BIN_EXE_windows-sidecar");

/// The exit code that a killed process leaves.
pub(crate) const KILLED: Exit = Exit::with_code(1);
/// A grace period that is meant to run out.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// The arguments for these steps; `PORT` is where the reports listens.
pub(crate) fn words(steps: &str, reports: &ReportServer) -> Vec<String> {
    steps.replace("PORT", &reports.port().to_string()).split(' ').map(str::to_owned).collect()
}

/// A sidecar that may take as long as it likes to stop, and is not restarted.
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

/// Starts it, and waits until it is ready.
pub(crate) async fn ready(spec: Spec) -> (Supervisor, Events) {
    let (supervisor, events) = Supervisor::start(spec);
    supervisor.ready().await.unwrap();
    (supervisor, events)
}

/// Waits for the first status that fits.
pub(crate) async fn status(events: &mut Events, fits: impl Fn(&Status) -> bool) -> Status {
    loop {
        match events.next().await.expect("the status comes before the sidecar is down for good") {
            SidecarEvent::Status(status) if fits(&status) => return *status,
            _ => {}
        }
    }
}

/// Waits for the first status of this phase.
pub(crate) async fn phase(events: &mut Events, phase: State) -> Status {
    status(events, |status| status.state == phase).await
}

/// An app that lives until its test lets it die.
pub(crate) struct App {
    process: Child,
    contact: Reporter,
}

impl App {
    /// An app with this sidecar that has come to the moment it is to die at. What it is to start by itself besides, as an
    /// updater is, is given in steps as well.
    #[expect(clippy::disallowed_methods, reason = "the app is the one that supervises")]
    pub(crate) async fn start(
        reports: &ReportServer,
        [moment, death]: [&str; 2],
        steps: &str,
        updater: Option<&str>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windows-host"));
        command.args([&reports.port().to_string(), moment, death, SIDECAR]).args(words(steps, reports));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        if let Some(steps) = updater {
            command.env("UPDATER", words(steps, reports).join(" "));
        }
        let process = command.spawn().unwrap();
        Self { process, contact: reports.wait_for("host").await }
    }

    /// Lets it die its own death.
    pub(crate) async fn dies(mut self) {
        self.contact.resume().await;
        self.contact.wait_death().await;
    }

    /// Kills it: the standard library calls `TerminateProcess`.
    pub(crate) async fn terminated(mut self) {
        self.process.kill().unwrap();
        self.contact.wait_death().await;
    }
}
