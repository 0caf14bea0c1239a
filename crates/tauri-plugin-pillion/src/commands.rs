//! What a page may ask, each command behind a permission of its own, which a scope may narrow to some of the sidecars.

use std::borrow::Cow;

use hyper::body::Bytes;
use pillion::{Access, Endpoint, Log, Status, protocol::ListenAddr};
use serde::Deserialize as _;
use tauri::{
    State, Webview,
    ipc::{Channel, CommandScope, InvokeBody, Request, Response},
};

use crate::{
    Sidecars, framing,
    requests::{Requests, unanswered},
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

/// Waits until the sidecar is ready, and gives what requests to that run need: its token among it, where it is private and the
/// page itself sends them.
#[tauri::command]
pub(crate) async fn connect(
    sidecars: State<'_, Sidecars>,
    scope: CommandScope<Entry>,
    sidecar: String,
) -> Result<Access, Refusal> {
    let mut access = sidecars.within(&scope, &sidecar)?.access().await?;
    if access.listen_addr() == ListenAddr::Local {
        // The app sends them, and has it.
        access.token = None;
    }
    Ok(access)
}

/// Sends a request by way of the app, with the sidecar's token, and answers with the head and the beginning of the body: see
/// `framing.rs`.
#[tauri::command]
pub(crate) async fn request(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    requests: State<'_, Requests>,
    scope: CommandScope<Entry>,
    request: Request<'_>,
) -> Result<Response, Refusal> {
    let message = bytes(request.body());
    let (head, body) = framing::split::<framing::RequestHead>(&message)
        .ok_or_else(|| unanswered("a request is a head and a body, framed"))?;
    let supervisor = sidecars.within(&scope, &head.sidecar)?;
    let body = Bytes::copy_from_slice(body);
    requests.send(webview.label(), supervisor, head, body).await.map(Response::new)
}

/// The next bytes of an answer's body; none at its end.
#[tauri::command]
pub(crate) async fn read(
    webview: Webview<impl tauri::Runtime>,
    requests: State<'_, Requests>,
    id: u32,
) -> Result<Response, Refusal> {
    requests.read(webview.label(), id).await.map(Response::new)
}

/// Gives up a request, or the rest of an answer.
#[tauri::command]
pub(crate) async fn cancel(
    webview: Webview<impl tauri::Runtime>,
    requests: State<'_, Requests>,
    id: u32,
) -> Result<(), Refusal> {
    requests.cancel(webview.label(), id);
    Ok(())
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

/// The bytes that a page sent, which are an array of numbers where the webview has no other way
/// (`ipc-protocol.js` of Tauri falls back to one).
fn bytes(body: &InvokeBody) -> Cow<'_, [u8]> {
    match body {
        InvokeBody::Raw(bytes) => Cow::Borrowed(bytes),
        InvokeBody::Json(array) => Cow::Owned(Vec::deserialize(array).unwrap_or_default()),
    }
}
