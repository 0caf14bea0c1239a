//! The command `request`, which proxies a request of a page.

use std::borrow::Cow;

use serde::Deserialize as _;
use tauri::{
    Manager as _, Runtime, async_runtime,
    ipc::{CommandArg as _, CommandItem, CommandScope, Invoke, InvokeBody, InvokeMessage, Response},
};

use crate::desktop::{
    Sidecars,
    command_error::CommandError,
    ipc_message::{self, RequestHead},
    main_loop,
    output_permission::redact_error,
    proxy::Proxy,
    scope::ScopeEntry,
    task::{poll_once, task},
};

/// The name of the command.
pub(crate) const NAME: &str = "request";

/// The longest message, in bytes, that is sent on the main thread. To copy and to write a longer one takes longer than to wake another
/// thread, and the window would wait for it.
const SHORT: usize = 64 * 1024;

/// Proxies a request with the sidecar's token, or opens a WebSocket. Answers with the head of the response and the beginning of its body in
/// one message: see `ipc_message.rs`.
///
/// A short request goes to the sidecar on the main thread, on which a call arrives and its answer leaves, as far as that takes no waiting.
/// Every request is registered there: that thread also learns of the end of the page, which ends what is registered.
pub(crate) fn handle<R: Runtime>(Invoke { message, resolver, acl }: Invoke<R>) {
    let is_short = matches!(message.payload(), InvokeBody::Raw(bytes) if bytes.len() <= SHORT);
    let item =
        CommandItem { plugin: Some("pillion"), name: NAME, key: "scope", message: &message, acl: &acl };
    let scope = CommandScope::<ScopeEntry>::from_command(item);
    let goes_on = is_short && main_loop::has_room();
    let task = task(async move {
        resolver.respond(match scope {
            Ok(scope) => respond(&message, &scope, goes_on).await.map_err(Into::into),
            Err(error) => Err(error),
        });
    });
    if goes_on {
        main_loop::begin(task);
    } else if let Some(registered) = poll_once(task) {
        async_runtime::spawn(registered);
    }
}

async fn respond<R: Runtime>(
    message: &InvokeMessage<R>,
    scope: &CommandScope<ScopeEntry>,
    goes_on: bool,
) -> Result<Response, CommandError> {
    let webview = message.webview_ref();
    let message = bytes(message.payload());
    let (mut head, body) = ipc_message::decode::<RequestHead>(&message)
        .ok_or_else(|| CommandError::no_response("the message is not a request: a head and a body"))?;
    head.registers_first = !goes_on;
    let sidecars = webview.state::<Sidecars>();
    let supervisor = sidecars.in_scope(scope, &head.sidecar)?;
    let proxy = webview.state::<Proxy>();
    let response = if head.web_socket {
        proxy.open_web_socket(webview.label(), supervisor, head).await
    } else {
        proxy.send(webview.label(), supervisor, head, body).await
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
