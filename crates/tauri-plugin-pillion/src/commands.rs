//! What a page may ask, each command behind a permission of its own.

use pillion::{Endpoint, Failure, Status};
use tauri::{State, Webview, ipc::Channel};

use crate::{Sidecars, subscriptions::Subscriptions};

/// Waits until the sidecar is ready, and says where it is.
#[tauri::command]
pub(crate) async fn ready(sidecars: State<'_, Sidecars>, sidecar: String) -> Result<Endpoint, Failure> {
    sidecars.sidecar(&sidecar)?.ready().await
}

/// The present status.
#[tauri::command]
pub(crate) async fn status(sidecars: State<'_, Sidecars>, sidecar: String) -> Result<Status, Failure> {
    Ok(sidecars.sidecar(&sidecar)?.status())
}

/// Starts the sidecar again, and waits until it is ready.
#[tauri::command]
pub(crate) async fn restart(sidecars: State<'_, Sidecars>, sidecar: String) -> Result<Endpoint, Failure> {
    sidecars.sidecar(&sidecar)?.restart().await
}

/// Puts a new process of the same program in the place of the present one, without a gap, and says where it is.
#[tauri::command]
pub(crate) async fn swap(sidecars: State<'_, Sidecars>, sidecar: String) -> Result<Endpoint, Failure> {
    sidecars.sidecar(&sidecar)?.swap().await
}

/// Sends the present status to `channel`, and then each change; answers with the number that ends it.
#[tauri::command]
pub(crate) async fn watch(
    webview: Webview<impl tauri::Runtime>,
    sidecars: State<'_, Sidecars>,
    subscriptions: State<'_, Subscriptions>,
    sidecar: String,
    channel: Channel<Status>,
) -> Result<u32, Failure> {
    let watch = sidecars.sidecar(&sidecar)?.watch();
    Ok(subscriptions.begin(webview.label(), watch, channel))
}

/// Ends what `watch` began.
#[tauri::command]
pub(crate) async fn unwatch(
    webview: Webview<impl tauri::Runtime>,
    subscriptions: State<'_, Subscriptions>,
    id: u32,
) -> Result<(), Failure> {
    subscriptions.end(webview.label(), id);
    Ok(())
}
