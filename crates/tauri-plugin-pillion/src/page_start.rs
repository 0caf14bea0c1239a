//! What a page knows when it starts, without asking: the state of its sidecars, and what a request to them needs. guest-js/at-start.ts
//! reads it.

use std::{
    collections::BTreeMap,
    pin::pin,
    task::{Context, Poll, Waker},
};

use pillion::{Access, Status, Supervisor};
use serde::Serialize;
use tauri::{Manager as _, Runtime, Url, Webview, utils::config::PatternKind};

use crate::desktop::{
    Sidecars, connect_command::access_of_page, output_permission::redact_status, scope::ScopeEntry,
};

/// The most sidecars that a page is told of. It asks for others when it uses them.
const LIMIT: usize = 16;

/// What a page knows of one sidecar.
#[derive(Debug, Serialize)]
struct Known {
    status: Status,
    /// Of the run that serves, if the page may call it.
    access: Option<Access>,
}

/// Tells the page at `url`, which the webview begins to load, what it would learn by `watch` and `connect`, as far as its permissions
/// allow. Waits for no sidecar and starts none. Call it on the main thread, where no other page can replace this one meanwhile.
///
/// With the isolation pattern of Tauri (<https://v2.tauri.app/concept/inter-process-communication/isolation/>), the page is told nothing: the
/// app's hook examines each call, and may refuse `connect`.
pub(crate) fn tell<R: Runtime>(webview: &Webview<R>, url: &Url) {
    let known = known(webview);
    if !known.is_empty()
        && let Ok(script) = script(&known, url)
    {
        // An error means that the webview is gone.
        let _ = webview.eval(script);
    }
}

/// What the present page of the webview may know of each sidecar, by its name.
fn known<R: Runtime>(webview: &Webview<R>) -> BTreeMap<String, Known> {
    let resolve = |command| webview.resolve_command_scope::<ScopeEntry>("pillion", command).ok().flatten();
    if !matches!(webview.config().app.security.pattern, PatternKind::Brownfield) {
        return BTreeMap::new();
    }
    let (Some(watch), connect) = (resolve("watch"), resolve("connect")) else { return BTreeMap::new() };
    let sidecars = webview.state::<Sidecars>();
    let visible = sidecars.iter().filter(|sidecar| watch.command_scope().matches(sidecar.name()));
    let tell = |sidecar: &Supervisor| {
        let may_connect = connect.as_ref().is_some_and(|scope| scope.command_scope().matches(sidecar.name()));
        let access = if may_connect { present_access(sidecar) } else { None };
        (sidecar.name().to_owned(), Known { status: redact_status(webview, sidecar.status()), access })
    };
    visible.take(LIMIT).map(tell).collect()
}

/// What a request to the run that serves needs. `None` if none serves, and for a sidecar on demand: the app does not see the page's
/// requests, so that the page has to ask for each use.
fn present_access(sidecar: &Supervisor) -> Option<Access> {
    if sidecar.is_on_demand() {
        return None;
    }
    match pin!(sidecar.access()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(access) => access.ok().map(access_of_page),
        Poll::Pending => None,
    }
}

/// A script that leaves `known` to the client of the page. By the time that it runs, the webview may show a page of another origin, which
/// must not receive it: nothing in a page can replace `location`. What the page has not taken when it has loaded is removed; a page
/// that goes on loading keeps it as long as the client takes it for fresh.
fn script(known: &BTreeMap<String, Known>, url: &Url) -> serde_json::Result<String> {
    let protocol = serde_json::to_string(&format!("{}:", url.scheme()))?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = serde_json::to_string(&format!("{}{port}", url.host_str().unwrap_or_default()))?;
    let known = serde_json::to_string(known)?;
    Ok(format!(
        "if(location.protocol==={protocol}&&location.host==={host}&&document.readyState!==\"complete\"){{\
         const plugins=globalThis.__TAURI_INTERNALS__?.plugins;\
         if(plugins){{\
         Object.defineProperty(plugins,\"pillion\",{{value:{{at:performance.now(),sidecars:{known}}},configurable:true}});\
         const forget=()=>{{delete plugins.pillion}};\
         addEventListener(\"load\",forget,{{once:true}});setTimeout(forget,5000)}}}}"
    ))
}

#[cfg(test)]
mod tests;
