//! The command `request`, which proxies a request of a page. A short one begins on the thread that the page's call arrives on, and not,
//! as other async commands do, in a task: a request of a few bytes is then on its way to the sidecar before a thread of the runtime has woken up.

use std::{
    borrow::Cow,
    future::Future,
    panic::{self, AssertUnwindSafe},
    task::{Context, Poll, Waker},
};

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

/// The longest message, in bytes, that is sent on the main thread. To copy and to write a longer one takes longer than to wake another
/// thread, and the window would wait for it.
const SHORT: usize = 64 * 1024;

/// Proxies a request with the sidecar's token, or opens a WebSocket. Answers with the head of the response and the beginning of its body in
/// one message: see `ipc_message.rs`.
pub(crate) fn handle<R: Runtime>(Invoke { message, resolver, acl }: Invoke<R>) {
    let is_short = matches!(message.payload(), InvokeBody::Raw(bytes) if bytes.len() <= SHORT);
    let item =
        CommandItem { plugin: Some("pillion"), name: NAME, key: "scope", message: &message, acl: &acl };
    let scope = CommandScope::<ScopeEntry>::from_command(item);
    let task = async move {
        resolver.respond(match scope {
            Ok(scope) => respond(&message, &scope).await.map_err(Into::into),
            Err(error) => Err(error),
        });
    };
    if is_short {
        begin_here(task);
    } else {
        async_runtime::spawn(task);
    }
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

/// Runs a task here until it first waits, and from there on in the runtime.
fn begin_here(task: impl Future<Output = ()> + Send + 'static) {
    let mut task = Box::pin(task);
    let runtime = async_runtime::handle();
    let context = runtime.inner().enter();
    let mut step = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    // A panic must not reach the webview's own code. As after a panic in the runtime, the page gets no answer.
    let step = panic::catch_unwind(AssertUnwindSafe(&mut step));
    drop(context);
    if matches!(step, Ok(Poll::Pending)) {
        async_runtime::spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_task_begins_here_and_ends_in_the_runtime() {
        let (told, tell) = oneshot::channel();
        let (begun, beginning) = mpsc::channel();
        let here = std::thread::current().id();
        begin_here(async move {
            begun.send(std::thread::current().id()).unwrap();
            tell.await.unwrap();
            begun.send(std::thread::current().id()).unwrap();
        });
        assert_eq!(beginning.try_recv(), Ok(here));
        told.send(()).unwrap();
        assert_ne!(beginning.recv().unwrap(), here);
    }

    #[test]
    fn a_panic_stays_within() {
        begin_here(async { panic!("of a test") });
    }
}
