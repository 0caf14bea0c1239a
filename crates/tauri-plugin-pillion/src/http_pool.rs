//! HTTP/1.1 to one sidecar, over kept connections.

use std::{
    fmt,
    future::{self, Future},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use pillion::Access;
use tauri::async_runtime;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{self, Instant},
};
use tokio_util::sync::DropGuard;

#[cfg(target_os = "linux")]
use crate::desktop::local_stream::LocalStream;
use crate::desktop::{ipc_message::MAX_HEADERS, lock::lock, task::task};

/// Distinguishes one run from the next: its URL and its process.
type RunId = (String, Option<u32>);

/// How many idle connections are kept. Browsers open as many to one server.
const MAX_IDLE: usize = 6;

/// How long an idle connection is kept. Nothing polls it meanwhile, so that the app does not notice when the server closes it.
const MAX_IDLE_TIME: Duration = Duration::from_secs(5);

/// How long the rest of a body waits for a sidecar that has answered and takes none of it. A sidecar either reads the body to its end or closes
/// the connection (RFC 9112, section 9.3); one that does neither would keep connection and body for as long as it runs.
pub(crate) const BODY_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect to the sidecar ({0})")]
    Connect(#[from] io::Error),
    #[error("the connection to the sidecar broke ({0})")]
    Broken(#[from] hyper::Error),
}

/// The idle connections to one sidecar.
#[derive(Debug)]
pub(crate) struct HttpPool {
    idle: Mutex<Idle>,
    max_idle_time: Duration,
}

/// Connections that all lead to one run.
#[derive(Debug, Default)]
struct Idle {
    run: Option<RunId>,
    /// Each with the time since when it is idle; the latest is the last.
    connections: Vec<(Instant, Connection)>,
    /// Whether [`HttpPool::close_idle`] runs.
    is_closing: bool,
}

impl Default for HttpPool {
    fn default() -> Self {
        Self::new(MAX_IDLE_TIME)
    }
}

impl HttpPool {
    pub(crate) fn new(max_idle_time: Duration) -> Self {
        Self { idle: Mutex::default(), max_idle_time }
    }

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
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(access).await?,
            };
            let response = connection.sender.try_send_request(request.clone());
            match connection.driver.drive(response).await {
                Ok(response) => {
                    let (pool, run) = (Arc::clone(self), run_id(access));
                    return Ok(response.map(|incoming| ResponseBody {
                        incoming,
                        connection: Some((pool, run, connection)),
                        upload: None,
                    }));
                }
                Err(_) if is_kept => {}
                Err(failed) => return Err(failed.into_error().into()),
            }
        }
    }

    /// A kept connection to this run for this request. Connections to another run are closed.
    fn take<B>(&self, access: &Access, request: &Request<B>) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        if idle.run.as_ref() != Some(&run_id(access)) {
            idle.run = Some(run_id(access));
            idle.connections.clear();
        }
        if !is_repeatable(request) {
            return None;
        }
        while let Some((_, mut connection)) = idle.connections.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// How many connections are idle.
    #[cfg(test)]
    pub(crate) fn idle_count(&self) -> usize {
        lock(&self.idle).connections.len()
    }

    /// Keeps a connection whose response has ended, if it can take another request.
    fn keep(self: &Arc<Self>, run: &RunId, mut connection: Connection) {
        if !connection.is_ready() {
            // A server may respond before it has read the body of the request (RFC 9112, section 9.3). The rest is sent still.
            if let Connection { sender, driver: driver @ Driver::Open(_) } = connection {
                drop(sender);
                async_runtime::spawn(task(driver.finish(BODY_STALL_TIMEOUT)));
            }
            return;
        }
        let mut idle = lock(&self.idle);
        if idle.run.as_ref() == Some(run) && idle.connections.len() < MAX_IDLE {
            idle.connections.push((Instant::now(), connection));
            if !idle.is_closing {
                idle.is_closing = true;
                async_runtime::spawn(task(Arc::clone(self).close_idle()));
            }
        }
    }

    /// Closes each connection that stays idle for too long, until none is left. One timer for all: requests that follow each other
    /// neither set nor reset it.
    async fn close_idle(self: Arc<Self>) {
        while let Some(next) = self.close_expired() {
            time::sleep_until(next).await;
        }
    }

    /// When the next connection will have been idle for too long.
    fn close_expired(&self) -> Option<Instant> {
        let mut idle = lock(&self.idle);
        idle.connections.retain(|(since, _)| since.elapsed() < self.max_idle_time);
        let next = idle.connections.first().map(|(since, _)| *since + self.max_idle_time);
        idle.is_closing = next.is_some();
        next
    }
}

/// Whether sending a request twice is harmless: an idempotent method (RFC 9110, section 9.2.2), or an `Idempotency-Key`.
fn is_repeatable<B>(request: &Request<B>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key("idempotency-key")
}

fn run_id(Access { url, pid, .. }: &Access) -> RunId {
    (url.clone(), *pid)
}

/// A connection and the future that reads and writes it. A task of its own for the latter would cost each request two switches between
/// threads: it is polled where the response is awaited. An idle connection is polled by nothing, for at most [`MAX_IDLE_TIME`].
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

impl Connection {
    async fn open(access: &Access) -> Result<Self, HttpError> {
        Ok(Self::over(connect(access).await?).await?)
    }

    async fn over(stream: Box<dyn ByteStream>) -> hyper::Result<Self> {
        let stream = TokioIo::new(stream);
        let (sender, connection) = http1::Builder::new().max_headers(MAX_HEADERS).handshake(stream).await?;
        // The sender and the body report the connection's errors.
        Ok(Self { sender, driver: Driver::Open(Box::pin(async move { drop(connection.await) })) })
    }

    /// Whether a request can be sent. Notices that the server has closed the connection meanwhile.
    fn is_ready(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }
}

/// A stream of any kind, so that HTTP is compiled once.
trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

async fn connect(access: &Access) -> io::Result<Box<dyn ByteStream>> {
    #[cfg(target_os = "linux")]
    if let Some(socket) = access.connect_now() {
        return Ok(Box::new(LocalStream::new(socket?)));
    }
    Ok(Box::new(access.connect().await?))
}

/// Reads and writes a connection while it is polled.
pub(crate) enum Driver {
    Open(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// The connection has ended.
    Closed,
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if matches!(self, Self::Open(_)) { "Open" } else { "Closed" })
    }
}

impl Driver {
    /// Waits for `work`, which waits for the connection.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        future::poll_fn(|context| {
            // First: it tells the connection what is wanted.
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.poll(context);
            // Now rather than when the task is woken again.
            work.as_mut().poll(context)
        })
        .await
    }

    /// Sends what is left, and closes the connection, whose sender was dropped: at the latest when the server has taken nothing for as long as
    /// `patience`.
    pub(crate) async fn finish(mut self, patience: Duration) {
        let mut limit = pin!(time::sleep(patience));
        future::poll_fn(|context| {
            self.poll(context);
            // Again: hyper may look for another request only after the poll that has sent the last bytes.
            self.poll(context);
            if matches!(self, Self::Closed) || limit.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            // What woke this task up was the connection.
            limit.as_mut().reset(Instant::now() + patience);
            // Never ready. It remembers the task.
            let _ = limit.as_mut().poll(context);
            Poll::Pending
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let Self::Open(connection) = self
            && connection.as_mut().poll(context).is_ready()
        {
            *self = Self::Closed;
        }
    }
}

/// The body of a response. Bytes that are not read here stay with the server.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    incoming: Incoming,
    /// The connection that the body arrives on, until the body's end.
    connection: Option<(Arc<HttpPool>, RunId, Connection)>,
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
        while let Some(frame) = self.next_frame().await {
            // Trailers are skipped: Fetch does not expose them.
            match frame?.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                Ok(_) | Err(_) => {}
            }
        }
        self.upload = None;
        if let Some((pool, run, connection)) = self.connection.take() {
            pool.keep(&run, connection);
        }
        Ok(None)
    }

    async fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        let frame = self.incoming.frame();
        match &mut self.connection {
            Some((.., connection)) => connection.driver.drive(frame).await,
            None => frame.await,
        }
    }

    /// How many bytes are left, if the server announced a length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }
}

#[cfg(test)]
mod tests;
