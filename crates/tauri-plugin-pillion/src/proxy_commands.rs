//! The commands of the proxy: `request`, `write`, `read` and `cancel`. They do not run in Tauri's runtime, as the other commands do, but in
//! that of the proxy: see `proxy/runtime.rs`.

use std::borrow::Cow;

use hyper::body::Bytes;
use serde::Deserialize;
use tauri::{
    Manager as _, Runtime,
    ipc::{
        CommandArg as _, CommandItem, CommandScope, Invoke, InvokeBody, InvokeError, InvokeMessage, Response,
    },
    utils::acl::resolved::ResolvedCommand,
};

use crate::{
    Sidecars,
    command_error::CommandError,
    ipc_message::{self, RequestHead, WriteHead},
    output_permission::redact_error,
    proxy::Proxy,
    scope::ScopeEntry,
    task::task,
};

type Acl = Option<Vec<ResolvedCommand>>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum ProxyCommand {
    /// Proxies a request with the sidecar's token, or opens a WebSocket. Returns the head of the response and the beginning of its body in one
    /// message: see `ipc_message.rs`.
    Request,
    /// Sends messages of a WebSocket, or a piece of the body of a request. Returns when the connection has taken them, or has room for another
    /// piece; false if the sidecar takes no more of either. Refuses a second call while one is under way.
    Write,
    /// Returns the bytes of a response's body at a place, counted in chunks; none at its end. For a WebSocket, the next messages.
    Read,
    /// Cancels a request, or the rest of its response, or a WebSocket.
    Cancel,
}

/// The arguments of `read`.
#[derive(Debug, Deserialize)]
struct Place {
    id: u32,
    place: Option<u32>,
}

/// The argument of `cancel`.
#[derive(Debug, Deserialize)]
struct Id {
    id: u32,
}

impl ProxyCommand {
    /// The command of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Request, Self::Write, Self::Read, Self::Cancel]
            .into_iter()
            .find(|command| command.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Write => "write",
            Self::Read => "read",
            Self::Cancel => "cancel",
        }
    }

    /// Executes the command, which Tauri has found to be allowed. Returns at once.
    pub(crate) fn handle<R: Runtime>(self, Invoke { message, resolver, acl }: Invoke<R>) {
        let proxy = message.webview_ref().state::<Proxy>();
        let runtime = proxy.runtime();
        match runtime {
            Ok(runtime) => {
                let runtime = runtime.clone();
                runtime.spawn(task(async move { resolver.respond(self.execute(&message, &acl).await) }));
            }
            Err(error) => resolver.reject(format!("the app has no thread for requests: {error}")),
        }
    }

    async fn execute<R: Runtime>(
        self,
        message: &InvokeMessage<R>,
        acl: &Acl,
    ) -> Result<Response, InvokeError> {
        let webview = message.webview_ref();
        let (label, proxy) = (webview.label(), webview.state::<Proxy>());
        let answer = match self {
            Self::Request => request(message, &self.scope(message, acl)?).await,
            Self::Write => write(message, &self.scope(message, acl)?).await,
            Self::Read => match arguments(message) {
                Ok(Place { id, place }) => proxy.read(label, id, place).await.map(Response::new),
                Err(error) => Err(error),
            },
            Self::Cancel => arguments(message).map(|Id { id }| {
                proxy.cancel(label, id);
                Response::new("null".to_owned())
            }),
        };
        answer.map_err(|error| redact_error(webview, error).into())
    }

    fn scope<R: Runtime>(
        self,
        message: &InvokeMessage<R>,
        acl: &Acl,
    ) -> Result<CommandScope<ScopeEntry>, InvokeError> {
        let name = self.name();
        CommandScope::from_command(CommandItem { plugin: Some("pillion"), name, key: "scope", message, acl })
    }
}

async fn request<R: Runtime>(
    message: &InvokeMessage<R>,
    scope: &CommandScope<ScopeEntry>,
) -> Result<Response, CommandError> {
    let webview = message.webview_ref();
    let (sidecars, proxy) = (webview.state::<Sidecars>(), webview.state::<Proxy>());
    let message = bytes(message.payload());
    let (head, body) = ipc_message::decode::<RequestHead>(&message)
        .ok_or_else(|| CommandError::no_response("the message is not a request: a head and a body"))?;
    let supervisor = sidecars.in_scope(scope, &head.sidecar)?;
    let response = if head.web_socket {
        proxy.open_web_socket(webview.label(), supervisor, head).await
    } else {
        proxy.send(webview.label(), supervisor, head, Bytes::copy_from_slice(body)).await
    };
    response.map(Response::new)
}

async fn write<R: Runtime>(
    message: &InvokeMessage<R>,
    scope: &CommandScope<ScopeEntry>,
) -> Result<Response, CommandError> {
    let webview = message.webview_ref();
    let (sidecars, proxy) = (webview.state::<Sidecars>(), webview.state::<Proxy>());
    let message = bytes(message.payload());
    let (head, bytes) = ipc_message::decode::<WriteHead>(&message)
        .ok_or_else(|| CommandError::no_response("the message has no head"))?;
    if let Some(begin) = &head.upload.begin {
        sidecars.in_scope(scope, &begin.sidecar)?;
    }
    let is_wanted = proxy.write(webview.label(), head, bytes).await?;
    Ok(Response::new(is_wanted.to_string()))
}

fn arguments<'a, R: Runtime, T: Deserialize<'a>>(message: &'a InvokeMessage<R>) -> Result<T, CommandError> {
    match message.payload() {
        InvokeBody::Json(arguments) => T::deserialize(arguments).map_err(CommandError::no_response),
        InvokeBody::Raw(_) => Err(CommandError::no_response("the arguments are bytes instead of an object")),
    }
}

/// The bytes that a page sent. Where the webview cannot send bytes, Tauri's `ipc-protocol.js` sends an array of numbers.
fn bytes(body: &InvokeBody) -> Cow<'_, [u8]> {
    match body {
        InvokeBody::Raw(bytes) => Cow::Borrowed(bytes),
        InvokeBody::Json(array) => Cow::Owned(Vec::deserialize(array).unwrap_or_default()),
    }
}
