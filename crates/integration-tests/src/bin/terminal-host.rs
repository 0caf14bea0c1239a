//! A program that shows the output of its sidecars on stderr, and ends when they are down.
//!
//! ```text
//! terminal-host NAME PROGRAM ARGUMENT… [-- NAME PROGRAM ARGUMENT…]…
//! ```
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{env, time::Duration};

use pillion::{Program, Restart, RestartLimit, Spec, State, Supervisor, TerminalOutput};

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let (supervisors, events): (Vec<_>, Vec<_>) = arguments
        .split(|argument| argument == "--")
        .map(|sidecar| {
            let [name, program, arguments @ ..] = sidecar else { panic!("{sidecar:?}") };
            let spec = Spec::run(name, Program::new(program).args(arguments))
                .ready_timeout(HOUR)
                .restart(Restart::OnFailure)
                .restart_limit(RestartLimit::new(1, HOUR));
            Supervisor::start(spec)
        })
        .unzip();
    let terminal = TerminalOutput::start(events).unwrap();
    for supervisor in &supervisors {
        let mut changes = supervisor.watch();
        while let Some(status) = changes.next().await {
            if matches!(status.state, State::Stopped | State::Failed) {
                break;
            }
        }
    }
    // The handles still exist, so that the events have not ended.
    terminal.finish(HOUR);
    drop(supervisors);
}
