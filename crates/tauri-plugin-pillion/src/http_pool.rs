//! HTTP/1.1 to one sidecar, over kept connections.

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
use tokio_util::sync::DropGuard;

use crate::{ipc_message::MAX_HEADERS, lock::lock};

type Sender = SendRequest<Full<Bytes>>;

/// Distinguishes one run from the next: its URL and its process.
type RunId = (String, Option<u32>);

/// How many idle connections are kept. Browsers open as many to one server.
const MAX_IDLE: usize = 6;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect to the sidecar ({0})")]
    Connect(#[from] io::Error),
    #[error("the connection to the sidecar broke ({0})")]
    Broken(#[from] hyper::Error),
}

/// The idle connections to one sidecar.
#[derive(Debug, Default)]
pub(crate) struct HttpPool(Mutex<Idle>);

/// Connections that all lead to one run.
#[derive(Debug, Default)]
struct Idle {
    run: Option<RunId>,
    senders: Vec<Sender>,
}

impl HttpPool {
    /// Sends a request to this run, and waits for the head of the response. Dropping the future closes the connection, as does
    /// dropping a body before its end.
    ///
    /// The server may close an idle connection at any time, also just before it reads a request (RFC 9112, section 9.3.1). The
    /// client cannot tell whether the server has read the request, so only a request that may be repeated uses a kept connection,
    /// and is sent again on another one. Every other request uses a new connection, which no server closes as idle.
    pub(crate) async fn send(
        self: &Arc<Self>,
        access: &Access,
        request: &Request<Full<Bytes>>,
    ) -> Result<Response<ResponseBody>, HttpError> {
        loop {
            let kept = self.take(access, request);
            let is_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(access).await?,
            };
            match sender.try_send_request(request.clone()).await {
                Ok(response) => {
                    let (pool, run) = (Arc::clone(self), run_id(access));
                    return Ok(response.map(|incoming| ResponseBody {
                        incoming,
                        connection: Some((pool, run, sender)),
                        upload: None,
                    }));
                }
                Err(_) if is_kept => {}
                Err(failed) => return Err(failed.into_error().into()),
            }
        }
    }

    /// A kept connection to this run for this request. Connections to another run are closed.
    fn take<B>(&self, access: &Access, request: &Request<B>) -> Option<Sender> {
        let mut idle = lock(&self.0);
        if idle.run.as_ref() != Some(&run_id(access)) {
            *idle = Idle { run: Some(run_id(access)), senders: Vec::new() };
        }
        if !is_repeatable(request) {
            return None;
        }
        while let Some(sender) = idle.senders.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// How many connections are idle.
    #[cfg(test)]
    pub(crate) fn idle_count(&self) -> usize {
        lock(&self.0).senders.len()
    }

    fn keep(&self, run: &RunId, sender: Sender) {
        let mut idle = lock(&self.0);
        if idle.run.as_ref() == Some(run) && idle.senders.len() < MAX_IDLE {
            idle.senders.push(sender);
        }
    }
}

/// Whether sending a request twice is harmless: an idempotent method (RFC 9110, section 9.2.2), or an `Idempotency-Key`.
fn is_repeatable<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
}

fn run_id(Access { url, pid, .. }: &Access) -> RunId {
    (url.clone(), *pid)
}

async fn connect(access: &Access) -> Result<Sender, HttpError> {
    let stream = access.connect().await?;
    let (sender, connection) =
        http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await?;
    // This task ends with the sender or with the server. The sender reports the connection's errors.
    async_runtime::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The body of a response. Bytes that are not read here stay with the server.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    /// The connection that the body arrives on, until the body's end.
    connection: Option<(Arc<HttpPool>, RunId, Sender)>,
    /// Ends the body of the request, which may be under way still.
    upload: Option<DropGuard>,
}

impl ResponseBody {
    /// The body that answers a request whose own body `upload` ends. Its connection is used no more.
    pub(crate) fn of_upload(incoming: Incoming, upload: DropGuard) -> Self {
        Self { incoming, connection: None, upload: Some(upload) }
    }

    /// The next bytes, at least one; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        while let Some(frame) = self.incoming.frame().await {
            // Trailers are skipped: Fetch does not expose them.
            match frame?.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) | Err(_) => {}
            }
        }
        self.upload = None;
        self.release_connection();
        Ok(None)
    }

    /// How many bytes are left, if the server announced a length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    fn release_connection(&mut self) {
        let Some((pool, run, mut sender)) = self.connection.take() else { return };
        async_runtime::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.keep(&run, sender);
            }
        });
    }
}
