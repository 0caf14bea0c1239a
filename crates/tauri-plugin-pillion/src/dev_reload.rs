//! Development only: starts a sidecar again when its program was rebuilt or its sources changed, while the app keeps running.

mod repeats;
mod watched_files;

use std::{
    io::{self, Write as _},
    sync::mpsc::{self, Sender},
    thread,
    time::Instant,
};

use pillion::{Endpoint, Failure, FailureKind, Readiness, State, Supervisor};
use pillion_config::OnChange;

use self::repeats::Repeats;
pub(crate) use self::watched_files::WatchedFiles;

/// Starts the sidecar again whenever the watched files have changed. A stopped sidecar stays stopped, and an idle one is started with
/// the changed files by its next use; a failed one is started. If a candidate of a swap does not become ready, the old process keeps
/// running, and the next change is tried.
///
/// This future never ends by itself, and holds a handle to the sidecar. `shown` says whether the terminal shows its output already.
pub(crate) async fn follow(supervisor: Supervisor, mut files: WatchedFiles, shown: bool) {
    let name = supervisor.name();
    let terminal = Terminal::start();
    if files.is_empty() {
        terminal.show(format!("{name}: {}", files.why_empty()));
    }
    // The advice is about patterns.
    let advises = files.has_patterns();
    let restless = |file: &str| {
        if advises {
            terminal.show(format!("{name}: {}", repeats::about_restless(file)));
        }
    };
    let mut repeats = Repeats::default();
    let mut changed = files.changed(restless).await;
    loop {
        let status = supervisor.status();
        if status.state == State::Stopped || status.readiness == Readiness::Idle {
            changed = files.changed(restless).await;
            continue;
        }
        if let Some(file) = repeats.starting(&changed, Instant::now()).filter(|_| advises) {
            terminal.show(format!("{name}: {}", repeats::about(&files.shown(file))));
        }
        tokio::select! {
            started = start_again(&supervisor, files.on_change()) => {
                repeats.ended(Instant::now());
                let what = files.shown_all(&changed);
                outcome(&supervisor, &what, started, shown).into_iter().for_each(|line| terminal.show(line));
                changed = files.changed(restless).await;
            }
            // The files changed again before the new process was ready: this start is abandoned for the next one.
            again = files.changed(restless) => changed = again,
        }
    }
}

async fn start_again(supervisor: &Supervisor, on_change: OnChange) -> Result<Endpoint, Failure> {
    match on_change {
        OnChange::Swap => supervisor.swap().await,
        OnChange::Restart => supervisor.restart().await,
    }
}

/// The lines about the outcome of a new start, after a change of `files`.
fn outcome(
    supervisor: &Supervisor,
    files: &str,
    started: Result<Endpoint, Failure>,
    shown: bool,
) -> Vec<String> {
    let name = supervisor.name();
    match started {
        Ok(endpoint) => {
            let pid = endpoint.pid.unwrap_or_default();
            vec![format!("{name} has changed ({files}); the new process is {pid}")]
        }
        // The sidecar was stopped or restarted meanwhile.
        Err(failure) if failure.kind == FailureKind::Stopped => Vec::new(),
        Err(failure) => {
            let old = match supervisor.status().readiness {
                Readiness::Up => "the old one goes on",
                _ => "the old one has ended",
            };
            let message = format!(
                "{name} has changed ({files}), but the new process is not used; {old}: {}",
                failure.message
            );
            let tail = failure.detail.tail.iter().filter(|_| !shown).map(|line| format!("{name}: {line}"));
            [message].into_iter().chain(tail).collect()
        }
    }
}

/// Shows lines on stderr, because the app may have no `tracing` subscriber.
///
/// A thread of its own writes them: a terminal that is stopped (Ctrl-S) would stop the supervision of all sidecars, and `eprintln!`
/// panics if the terminal is gone. The thread ends after this value.
struct Terminal(Sender<String>);

impl Terminal {
    fn start() -> Self {
        let (lines, shown) = mpsc::channel::<String>();
        // Without resources for a thread, nothing is shown.
        let _ = thread::Builder::new().name("pillion-reload".to_owned()).spawn(move || {
            for line in shown {
                if writeln!(io::stderr(), "pillion: {line}").is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    fn show(&self, line: String) {
        // The thread has ended, because stderr is closed.
        let _ = self.0.send(line);
    }
}
