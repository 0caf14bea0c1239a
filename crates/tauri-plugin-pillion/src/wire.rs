//! HTTP/1.1 to one sidecar, by whatever way leads to it, on connections that are used again.

use std::{
    io,
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use pillion::Access;
use tauri::async_runtime;

use crate::lock::lock;

type Sender = SendRequest<Full<Bytes>>;

/// What tells one run from the next: where it is, and its process.
type Run = (String, Option<u32>);

/// So many connections are kept for later; browsers have as many to one server.
const KEPT: usize = 6;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("nothing accepts connections there ({0})")]
    Unreachable(#[from] io::Error),
    #[error("the connection broke ({0})")]
    Broken(#[from] hyper::Error),
}

/// The connections to one sidecar that nobody uses at the moment.
#[derive(Debug, Default)]
pub(crate) struct Wire(Mutex<Idle>);

/// All of them lead to one run.
#[derive(Debug, Default)]
struct Idle {
    run: Option<Run>,
    senders: Vec<Sender>,
}

impl Wire {
    /// Sends a request to this run, and waits for the head of the answer. Dropping the future closes the connection, as does
    /// dropping a body before its end.
    pub(crate) async fn send(
        self: &Arc<Self>,
        access: &Access,
        request: &Request<Full<Bytes>>,
    ) -> Result<Response<Body>, WireError> {
        loop {
            let kept = self.take(access);
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(access).await?,
            };
            match sender.try_send_request(request.clone()).await {
                Ok(response) => {
                    let (wire, run) = (Arc::clone(self), identify(access));
                    return Ok(response.map(|incoming| Body { incoming, onward: Some((wire, run, sender)) }));
                }
                // The server may close a connection that nobody used, and may have done so before it read this request
                // (RFC 9112, section 9.3.1). Another one is at hand, or made.
                Err(failed) if is_kept && (failed.message().is_some() || request.method().is_safe()) => {}
                Err(failed) => return Err(failed.into_error().into()),
            }
        }
    }

    fn take(&self, access: &Access) -> Option<Sender> {
        let mut idle = lock(&self.0);
        if idle.run.as_ref() != Some(&identify(access)) {
            *idle = Idle { run: Some(identify(access)), senders: Vec::new() };
        }
        while let Some(sender) = idle.senders.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, run: &Run, sender: Sender) {
        let mut idle = lock(&self.0);
        if idle.run.as_ref() == Some(run) && idle.senders.len() < KEPT {
            idle.senders.push(sender);
        }
    }
}

fn identify(Access { url, pid, .. }: &Access) -> Run {
    (url.clone(), *pid)
}

async fn connect(access: &Access) -> Result<Sender, WireError> {
    let stream = access.connect().await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, or with the server. What goes wrong is told to whoever waits for an answer.
    async_runtime::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The body of an answer. What nobody reads is not taken from the server.
#[derive(Debug)]
pub(crate) struct Body {
    incoming: Incoming,
    /// The connection that it comes by, until its end.
    onward: Option<(Arc<Wire>, Run, Sender)>,
}

impl Body {
    /// The next bytes, at least one; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        while let Some(frame) = self.incoming.frame().await {
            // Trailers are no bytes of the body, and Fetch has no place for them.
            match frame?.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) | Err(_) => {}
            }
        }
        self.finish();
        Ok(None)
    }

    /// How many bytes are left, where the server said.
    pub(crate) fn left(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    fn finish(&mut self) {
        let Some((wire, run, mut sender)) = self.onward.take() else { return };
        async_runtime::spawn(async move {
            if sender.ready().await.is_ok() {
                wire.keep(&run, sender);
            }
        });
    }
}
