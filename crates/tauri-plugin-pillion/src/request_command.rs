//! The command `request`, which proxies a request of a page.

use std::borrow::Cow;

use hyper::body::Bytes;
use serde::Deserialize as _;
use tauri::{
    Manager as _, Runtime, async_runtime,
    ipc::{CommandArg as _, CommandItem, CommandScope, Invoke, InvokeBody, InvokeMessage, Response},
};

use crate::{
    Sidecars,
    command_error::CommandError,
    ipc_message::{self, RequestHead},
    output_permission::redact_error,
    proxy::Proxy,
    scope::ScopeEntry,
};

/// The name of the command.
pub(crate) const NAME: &str = "request";

/// Proxies a request with the sidecar's token, or opens a WebSocket. Answers with the head of the response and the beginning of its body in
/// one message: see `ipc_message.rs`.
pub(crate) fn handle<R: Runtime>(Invoke { message, resolver, acl }: Invoke<R>) {
    let item =
        CommandItem { plugin: Some("pillion"), name: NAME, key: "scope", message: &message, acl: &acl };
    let scope = CommandScope::<ScopeEntry>::from_command(item);
    // Not begun here, on the main thread, which would spare two switches between threads: an app that did so and opened hundreds of event
    // streams was ended by the C library, because its heap was damaged (WebKitGTK 2.50; the cause is not known).
    async_runtime::spawn(async move {
        resolver.respond(match scope {
            Ok(scope) => respond(&message, &scope).await.map_err(Into::into),
            Err(error) => Err(error),
        });
    });
}

async fn respond<R: Runtime>(
    message: &InvokeMessage<R>,
    scope: &CommandScope<ScopeEntry>,
) -> Result<Response, CommandError> {
    let webview = message.webview_ref();
    let message = bytes(message.payload());
    let (head, body) = ipc_message::decode::<RequestHead>(&message)
        .ok_or_else(|| CommandError::no_response("the message is not a request: a head and a body"))?;
    let sidecars = webview.state::<Sidecars>();
    let supervisor = sidecars.in_scope(scope, &head.sidecar)?;
    let proxy = webview.state::<Proxy>();
    let response = if head.web_socket {
        proxy.open_web_socket(webview.label(), supervisor, head).await
    } else {
        proxy.send(webview.label(), supervisor, head, Bytes::copy_from_slice(body)).await
    };
    response.map(Response::new).map_err(|error| redact_error(webview, error))
}

/// The bytes that a page sent. Where the webview cannot send bytes, Tauri's `ipc-protocol.js` sends an array of numbers.
pub(crate) fn bytes(body: &InvokeBody) -> Cow<'_, [u8]> {
    match body {
        InvokeBody::Raw(bytes) => Cow::Borrowed(bytes),
        InvokeBody::Json(array) => Cow::Owned(Vec::deserialize(array).unwrap_or_default()),
    }
}
