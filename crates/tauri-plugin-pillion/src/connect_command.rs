//! The command `connect`, by which a page learns what its requests to a run need.

use std::future;

use pillion::{Access, Supervisor, protocol::ListenAddr};
use serde::Serialize;
use tauri::{
    Manager as _, Runtime, Webview, async_runtime,
    ipc::{CommandArg as _, CommandItem, CommandScope, Invoke, InvokeError},
};

use crate::desktop::{
    Sidecars, command_error::CommandError, output_permission::redact_error, scope::ScopeEntry,
    subscriptions::Subscriptions, task::task,
};

/// The name of the command.
pub(crate) const NAME: &str = "connect";

/// The result of `connect`.
#[derive(Debug, Serialize)]
struct Connection {
    #[serde(flatten)]
    access: Access,
    /// The id for `unwatch` that ends the use of a sidecar on demand. `None` if the app sees the uses itself.
    lease: Option<u32>,
}

/// A call whose use of the sidecar has begun.
struct Begun {
    supervisor: Supervisor,
    lease: Option<u32>,
}

/// Waits until the sidecar is ready, and returns what a request of the page to that run needs.
///
/// A sidecar on demand with a port is in use from the call on, until the page ends this use or its webview loads another page: the app
/// does not see the page's requests. The use begins on the main thread, on which the call arrives, so that the end of the page is not
/// handled before it.
pub(crate) fn handle<R: Runtime>(Invoke { message, resolver, acl }: Invoke<R>) {
    let item = |key| CommandItem { plugin: Some("pillion"), name: NAME, key, message: &message, acl: &acl };
    let begin = || -> Result<Begun, InvokeError> {
        let scope = CommandScope::<ScopeEntry>::from_command(item("scope"))?;
        let sidecar = String::from_command(item("sidecar"))?;
        Ok(begin(message.webview_ref(), &scope, &sidecar)?)
    };
    match begin() {
        Ok(begun) => {
            let webview = message.webview();
            async_runtime::spawn(task(async move {
                resolver.respond(connect(&webview, begun).await.map_err(Into::into));
            }));
        }
        Err(error) => resolver.respond::<Connection>(Err(error)),
    }
}

fn begin<R: Runtime>(
    webview: &Webview<R>,
    scope: &CommandScope<ScopeEntry>,
    sidecar: &str,
) -> Result<Begun, CommandError> {
    let sidecars = webview.state::<Sidecars>();
    let supervisor = sidecars.in_scope(scope, sidecar)?.clone();
    let lease = supervisor.is_on_demand().then(|| {
        let lease = supervisor.lease();
        webview.state::<Subscriptions>().begin(webview.label(), async move {
            let _lease = lease;
            future::pending::<()>().await;
        })
    });
    Ok(Begun { supervisor, lease })
}

async fn connect<R: Runtime>(
    webview: &Webview<R>,
    Begun { supervisor, mut lease }: Begun,
) -> Result<Connection, CommandError> {
    let access = supervisor.access().await.map(access_of_page);
    if !access.as_ref().is_ok_and(|access| access.listen_addr() != ListenAddr::Local)
        && let Some(id) = lease.take()
    {
        webview.state::<Subscriptions>().end(webview.label(), id);
    }
    let access = access.map_err(|failure| redact_error(webview, failure.into()))?;
    Ok(Connection { access, lease })
}

/// What a request of a page needs. The token is included only if the page itself sends the requests; for a sidecar without a port the app
/// sends them.
pub(crate) fn access_of_page(mut access: Access) -> Access {
    if access.listen_addr() == ListenAddr::Local {
        access.token = None;
    }
    access
}
