//! The commands of the plugin. Each has a permission of its own, whose scope can limit it to some of the sidecars. Failures leave
//! the app by way of `output_permission.rs`.
//!
//! Those that begin a subscription, or end one, are not `async`: Tauri executes them when the call arrives, on the main thread, which also
//! learns of the end of a page. A call that waits for a thread of the runtime would begin a subscription after that end, which nothing
//! would end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pillion::{Endpoint, ExitReport, Log, LogQuery, Logs, Status, Usage, UsageWatch};
use serde::{Deserialize, Serialize};
use tauri::{
    Manager as _, State, Webview,
    ipc::{Channel, CommandScope, JavaScriptChannelId, Request, Response},
};

use crate::desktop::{
    Sidecars, chunk_event,
    command_error::CommandError,
    ipc_message::{self, WriteHead},
    outbox::Outbox,
    output_permission::{redact_error, redact_reports, redact_status},
    proxy::Proxy,
    request_command,
    scope::ScopeEntry,
    subscriptions::{Subscriptions, Window},
    zip,
};

/// Waits until the sidecar is ready, and returns its endpoint.
#[tauri::command]
pub(crate) async fn ready(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<Endpoint, CommandError> {
    let outcome = sidecars.in_scope(&scope, &sidecar)?.ready().await;
    outcome.map_err(|failure| redact_error(&webview, failure.into()))
}

/// Returns the current status.
#[tauri::command]
pub(crate) async fn status(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<Status, CommandError> {
    Ok(redact_status(&webview, sidecars.in_scope(&scope, &sidecar)?.status()))
}

/// Sends messages of a WebSocket, or a piece of the body of a request. Returns when the connection has taken them, or has room for another
/// piece; false if the sidecar takes no more of either. Refuses a second call while one is under way.
#[tauri::command]
pub(crate) async fn write(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    proxy: State<'_, Proxy>,
    scope: CommandScope<ScopeEntry>,
    request: Request<'_>,
) -> Result<bool, CommandError> {
    let message = request_command::bytes(request.body());
    let (head, bytes) = ipc_message::decode::<WriteHead>(&message)
        .ok_or_else(|| CommandError::no_response("the message has no head"))?;
    if let Some(begin) = &head.upload.begin {
        sidecars.in_scope(&scope, &begin.sidecar)?;
    }
    proxy.write(webview.label(), head, bytes).await
}

/// Returns the bytes of a response's body at this place, counted in chunks; none at its end. For a WebSocket, the next messages. Returns
/// null if the page has received them by `event`.
#[tauri::command]
pub(crate) async fn read(
    webview: Webview<impl tauri::Runtime>,
    proxy: State<'_, Proxy>,
    id: u32,
    place: Option<u32>,
    event: Option<String>,
) -> Result<Response, CommandError> {
    let chunk = proxy.read(webview.label(), id, place).await?;
    if let Some(event) = event
        && chunk.len() >= chunk_event::LARGE
        && chunk_event::dispatch(&webview, event, &chunk).await
    {
        return Ok(Response::new("null".to_owned()));
    }
    Ok(Response::new(chunk))
}

/// Cancels a request, or the rest of its response, or a WebSocket.
#[tauri::command]
pub(crate) async fn cancel(
    webview: Webview<impl tauri::Runtime>,
    proxy: State<'_, Proxy>,
    id: u32,
) -> Result<(), CommandError> {
    proxy.cancel(webview.label(), id);
    Ok(())
}

/// Restarts the sidecar, and waits until it is ready.
#[tauri::command]
pub(crate) async fn restart(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<Endpoint, CommandError> {
    let outcome = sidecars.in_scope(&scope, &sidecar)?.restart().await;
    outcome.map_err(|failure| redact_error(&webview, failure.into()))
}

/// Replaces the process by a new one of the same program without a gap, and returns the new endpoint.
#[tauri::command]
pub(crate) async fn swap(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<Endpoint, CommandError> {
    let outcome = sidecars.in_scope(&scope, &sidecar)?.swap().await;
    outcome.map_err(|failure| redact_error(&webview, failure.into()))
}

/// Stops the sidecar gracefully, and returns when none of its processes is left. The status holds the outcome.
#[tauri::command]
pub(crate) async fn stop(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<(), CommandError> {
    let _ = sidecars.in_scope(&scope, &sidecar)?.stop().await;
    Ok(())
}

/// Sends the current status and then each change to `channel`. Returns the id for `unwatch`.
#[tauri::command]
pub(crate) fn watch(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    subscriptions: State<'_, Subscriptions>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
    channel: Channel<Status>,
) -> Result<u32, CommandError> {
    let mut watch = sidecars.in_scope(&scope, &sidecar)?.watch();
    let (app, label) = (webview.app_handle().clone(), webview.label().to_owned());
    Ok(subscriptions.begin(&label, async move {
        let is_open = Arc::new(AtomicBool::new(true));
        while let Some(status) = watch.next().await
            && is_open.load(Ordering::Relaxed)
        {
            let (page, channel, is_open) = (webview.clone(), channel.clone(), Arc::clone(&is_open));
            Outbox::push(&app, move || {
                let sent = channel.send(redact_status(&page, status));
                is_open.store(sent.is_ok(), Ordering::Relaxed);
            });
        }
    }))
}

/// Sends the sidecar's output to `channel`: the kept lines that the query wants, and then those to come. Returns the id for `unwatch`. The
/// page says how many messages it has `handled` of a subscription; at most a few others are on their way. It says so by this same command,
/// so that no second permission is needed. The sidecar never waits for the page. A page that is too slow gets [`Log::Missed`].
#[tauri::command]
pub(crate) fn logs(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
    query: Option<LogQuery>,
    channel: Option<JavaScriptChannelId>,
    handled: Option<Handled>,
) -> Result<u32, CommandError> {
    let sidecar = sidecars.in_scope(&scope, &sidecar)?;
    let subscriptions = webview.state::<Subscriptions>();
    if let Some(Handled { id, messages }) = handled {
        subscriptions.handled(webview.label(), id, messages);
        return Ok(id);
    }
    let channel = channel.ok_or_else(|| CommandError::no_response("logs without a channel"))?;
    let (channel, window) = (channel.channel_on::<_, Log>(webview.clone()), Window::default());
    let logs = sidecar.logs(query.unwrap_or_default());
    Ok(subscriptions.begin_with(webview.label(), Some(window.clone()), async move {
        send_logs(logs, &window, |log| channel.send(log).is_ok()).await;
    }))
}

/// Which messages of a subscription the page has handled.
#[derive(Debug, Deserialize)]
pub(crate) struct Handled {
    id: u32,
    messages: u32,
}

/// Sends the output, until it ends or cannot be sent. Reads no more of it than the page has room for: what is read later is newer, and the
/// supervisor counts what it does not keep so long.
pub(crate) async fn send_logs(mut logs: Logs, window: &Window, send: impl Fn(Log) -> bool) {
    loop {
        window.reserve().await;
        let Some(log) = logs.next().await else { return };
        if !send(log) {
            return;
        }
    }
}

/// An exit report, and the same in words.
#[derive(Debug, Serialize)]
pub(crate) struct ExitReportWithSummary {
    #[serde(flatten)]
    report: ExitReport,
    summary: String,
}

/// Returns the reports about the last ends of the sidecar, newest last.
#[tauri::command]
pub(crate) async fn exit_reports(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
) -> Result<Vec<ExitReportWithSummary>, CommandError> {
    let reports = sidecars.in_scope(&scope, &sidecar)?.exit_reports().await;
    let tell = |report: ExitReport| ExitReportWithSummary { summary: report.summary(), report };
    Ok(redact_reports(&webview, &sidecar, reports).into_iter().map(tell).collect())
}

/// How often `usage` measures.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct UsageQuery {
    interval_ms: Option<u64>,
}

/// Sends what the sidecar uses to `channel`, now and again at the interval of the query. Returns the id for `unwatch`. A page that is gone
/// has no subscription, and so nothing is measured for it.
#[tauri::command]
pub(crate) fn usage(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    subscriptions: State<'_, Subscriptions>,
    scope: CommandScope<ScopeEntry>,
    sidecar: String,
    query: Option<UsageQuery>,
    channel: Channel<Usage>,
) -> Result<u32, CommandError> {
    let interval = query.unwrap_or_default().interval_ms.map(Duration::from_millis);
    let usage = sidecars.in_scope(&scope, &sidecar)?.usage();
    let mut usage = usage.every(interval.unwrap_or(UsageWatch::DEFAULT_INTERVAL));
    Ok(subscriptions.begin(webview.label(), async move {
        while let Some(usage) = usage.next().await
            && channel.send(usage).is_ok()
        {}
    }))
}

/// Returns a zip file with all that is known of the sidecars in the scope, their output included, without secrets.
#[tauri::command]
pub(crate) async fn diagnose(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<ScopeEntry>,
) -> Result<Response, CommandError> {
    let diagnosis = sidecars.diagnose_selected(|name| scope.matches(name)).await;
    zip::pack(diagnosis).await.map(Response::new)
}

/// Ends the subscription that `watch`, `logs` or `usage` began.
#[tauri::command]
pub(crate) fn unwatch(
    webview: Webview<impl tauri::Runtime>,
    subscriptions: State<'_, Subscriptions>,
    id: u32,
) -> Result<(), CommandError> {
    subscriptions.end(webview.label(), id);
    Ok(())
}
