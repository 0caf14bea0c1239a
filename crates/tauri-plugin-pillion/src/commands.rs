//! What a page may ask, each command behind a permission of its own, which a scope may narrow to some of the sidecars.

use pillion::{Access, Endpoint, Log, Status};
use tauri::{
    State, Webview,
    ipc::{Channel, CommandScope},
};

use crate::{
    Sidecars,
    scope::{Entry, Refusal},
    subscriptions::Subscriptions,
};

/// Waits until the sidecar is ready, and says where it is.
#[tauri::command]
pub(crate) async fn ready(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Endpoint, Refusal> {
    Ok(sidecars.within(&scope, &sidecar)?.ready().await?)
}

/// The present status.
#[tauri::command]
pub(crate) async fn status(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Status, Refusal> {
    Ok(sidecars.within(&scope, &sidecar)?.status())
}

/// Waits until the sidecar is ready, and gives what requests to that run need: its token among it, where it is private.
#[tauri::command]
pub(crate) async fn connect(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Access, Refusal> {
    Ok(sidecars.within(&scope, &sidecar)?.access().await?)
}

/// Starts the sidecar again, and waits until it is ready.
#[tauri::command]
pub(crate) async fn restart(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Endpoint, Refusal> {
    Ok(sidecars.within(&scope, &sidecar)?.restart().await?)
}

/// Puts a new process of the same program in the place of the present one, without a gap, and says where it is.
#[tauri::command]
pub(crate) async fn swap(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Endpoint, Refusal> {
    Ok(sidecars.within(&scope, &sidecar)?.swap().await?)
}

/// Stops the sidecar with grace, and answers when nothing of it is left. What that took is in its status.
#[tauri::command]
pub(crate) async fn stop(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<(), Refusal> {
    let _ = sidecars.within(&scope, &sidecar)?.stop().await;
    Ok(())
}

/// Sends the present status to `channel`, and then each change; answers with the number that ends it.
#[tauri::command]
pub(crate) async fn watch(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    subscriptions: State<'_, Subscriptions>,
    scope: CommandScope<Entry>,
    sidecar: String,
    channel: Channel<Status>,
) -> Result<u32, Refusal> {
    let mut watch = sidecars.within(&scope, &sidecar)?.watch();
    Ok(subscriptions.begin(webview.label(), async move {
        while let Some(status) = watch.next().await
            && channel.send(status).is_ok()
        {}
    }))
}

/// Sends what the sidecar writes from now on to `channel`; answers with the number that ends it. A page that is too slow for
/// it is told that something is missing; the sidecar never waits.
#[tauri::command]
pub(crate) async fn logs(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    subscriptions: State<'_, Subscriptions>,
    scope: CommandScope<Entry>,
    sidecar: String,
    channel: Channel<Log>,
) -> Result<u32, Refusal> {
    let events = sidecars.within(&scope, &sidecar)?.subscribe();
    Ok(subscriptions.begin(webview.label(), async move {
        // None when the app is on its way out: nothing will be written any more.
        let Some(mut events) = events else { return };
        while let Some(event) = events.next().await {
            if Log::of(&event).is_some_and(|log| channel.send(log).is_err()) {
                break;
            }
        }
    }))
}

/// Ends what `watch` or `logs` began.
#[tauri::command]
pub(crate) async fn unwatch(
    webview: Webview<impl tauri::Runtime>,
    subscriptions: State<'_, Subscriptions>,
    id: u32,
) -> Result<(), Refusal> {
    subscriptions.end(webview.label(), id);
    Ok(())
}
