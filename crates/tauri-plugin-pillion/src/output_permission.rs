//! Which pages see a sidecar's output: only those that may read all of it (`pillion:allow-logs`). A failure and an exit
//! report hold the last lines of the output, and pages with fewer permissions receive them without these.

use pillion::{ExitReport, Failure, Status};
use tauri::{Runtime, Webview};

use crate::desktop::{command_error::CommandError, scope::ScopeEntry};

/// The status as this page may see it.
pub(crate) fn redact_status<R: Runtime>(webview: &Webview<R>, mut status: Status) -> Status {
    status.failure.iter_mut().for_each(|failure| redact(webview, failure));
    status
}

/// The error as this page may see it.
pub(crate) fn redact_error<R: Runtime>(webview: &Webview<R>, mut error: CommandError) -> CommandError {
    if let CommandError::Failure(failure) = &mut error {
        redact(webview, failure);
    }
    error
}

/// The exit reports of this sidecar as this page may see them.
pub(crate) fn redact_reports<R: Runtime>(
    webview: &Webview<R>,
    sidecar: &str,
    mut reports: Vec<ExitReport>,
) -> Vec<ExitReport> {
    if !may_read_output(webview, sidecar) {
        for report in &mut reports {
            report.stdout.clear();
            report.stderr.clear();
        }
    }
    reports
}

/// Removes the last output, unless the page may read the output of this sidecar. Without an output, asks nothing of Tauri.
fn redact<R: Runtime>(webview: &Webview<R>, failure: &mut Failure) {
    let detail = &mut failure.detail;
    if !detail.tail.is_empty() && !may_read_output(webview, &detail.sidecar) {
        detail.tail.clear();
    }
}

/// Whether the capabilities of the webview's window allow its present page the command `logs` for this sidecar.
fn may_read_output<R: Runtime>(webview: &Webview<R>, sidecar: &str) -> bool {
    let scope = webview.resolve_command_scope::<ScopeEntry>("pillion", "logs");
    scope.is_ok_and(|scope| scope.is_some_and(|scope| scope.command_scope().matches(sidecar)))
}
