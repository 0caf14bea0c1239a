//! The plugin on Android and iOS, where an app cannot start other programs: it says so to the page.

use serde_json::{Value, json};
use tauri::{
    Runtime,
    ipc::{Invoke, InvokeBody},
    plugin::{self, TauriPlugin},
};

/// Creates the plugin.
///
/// On Android and iOS no sidecar runs, whatever `tauri.conf.json` declares. Each call of a page for a sidecar is rejected with a failure of
/// the kind `unknownSidecar`, whose message names the system.
#[must_use]
pub fn init<R: Runtime>() -> TauriPlugin<R, Option<Value>> {
    plugin::Builder::new("pillion").invoke_handler(reject).build()
}

/// A guard inside the program, which Android and iOS need not.
pub mod guard {
    /// Does nothing on Android and iOS. On Windows, the app's program can be [the guard] of its sidecars by this call.
    ///
    /// [the guard]: https://docs.rs/pillion/latest/pillion/guard/
    pub fn run_if_asked() {}
}

fn reject<R: Runtime>(invoke: Invoke<R>) -> bool {
    let sidecar = match invoke.message.payload() {
        InvokeBody::Json(arguments) => arguments["sidecar"].as_str(),
        InvokeBody::Raw(_) => None,
    };
    let sidecar = sidecar.unwrap_or_default();
    let system = if cfg!(target_os = "ios") { "iOS" } else { "Android" };
    // As `pillion::Failure` is serialized.
    let failure = json!({
        "kind": "unknownSidecar",
        "message": format!("no sidecar runs on {system}, where an app cannot start other programs: use a server elsewhere"),
        "detail": { "sidecar": sidecar, "exit": null, "tail": [] },
    });
    invoke.resolver.reject(failure);
    true
}

#[cfg(test)]
mod tests {
    use pillion::{Failure, FailureKind};
    use tauri::{
        WebviewUrl, WebviewWindowBuilder,
        ipc::CallbackFn,
        test::{INVOKE_KEY, get_ipc_response, mock_builder},
        webview::InvokeRequest,
    };

    use super::*;
    use crate::test_context::with_permissions;

    #[test]
    fn a_page_learns_that_no_sidecar_runs() {
        let context = with_permissions(&json!(["pillion:allow-watch"]));
        let app = mock_builder().plugin(init()).build(context).unwrap();
        let page = WebviewWindowBuilder::new(&app, "main", WebviewUrl::default()).build().unwrap();
        let call = InvokeRequest {
            cmd: "plugin:pillion|watch".into(),
            callback: CallbackFn(0),
            error: CallbackFn(1),
            url: "tauri://localhost".parse().unwrap(),
            body: InvokeBody::Json(json!({ "sidecar": "backend" })),
            headers: Default::default(),
            invoke_key: INVOKE_KEY.to_owned(),
        };
        let failure = get_ipc_response(&page, call).unwrap_err();
        let failure: Failure = serde_json::from_value(failure).unwrap();
        assert_eq!((failure.kind, failure.detail.sidecar.as_str()), (FailureKind::UnknownSidecar, "backend"));
        assert!(failure.message.contains("cannot start other programs"), "{}", failure.message);
    }
}
