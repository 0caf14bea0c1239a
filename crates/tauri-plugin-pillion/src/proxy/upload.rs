//! The bodies of requests that pages send in pieces, so that neither page nor app holds the whole of one.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use pillion::Access;
use tauri::async_runtime;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{self, mpsc},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Exchange, HttpExchange, Key, ONE_WRITE, Proxy};
use crate::desktop::{
    command_error::CommandError,
    http_pool::{BODY_STALL_TIMEOUT, Driver, HttpError, ResponseBody},
    ipc_message::{BeginUpload, MAX_HEADERS},
    lock::lock,
    task::task,
};

/// The maximum size of a piece in bytes: `PIECE` of `guest-js/ipc-upload.ts`.
const MAX_PIECE: usize = 1024 * 1024;

/// The page's end of a body.
#[derive(Debug)]
pub(super) struct Upload {
    pieces: mpsc::Sender<Piece>,
    /// Cancelled with the exchange, or when the sidecar wants no more: its answer is complete, or the connection broke.
    ended: CancellationToken,
    /// The other end, until the request takes it.
    body: Mutex<Option<UploadBody>>,
    /// Held by a call of the page that sends a piece. Others would keep theirs in the app.
    writing: sync::Mutex<()>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

/// A body whose pieces the page sends while the request is under way. One piece waits in the channel.
#[derive(Debug)]
pub(super) struct UploadBody {
    pieces: mpsc::Receiver<Piece>,
    /// How many bytes are left, if the page knows the length.
    remaining: Option<u64>,
    /// Whether the connection has taken it to its end.
    is_complete: Arc<AtomicBool>,
    ended: CancellationToken,
    until_ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Proxy {
    /// Begins the exchange of a request whose body the page sends in pieces, before the request.
    pub(super) fn begin_upload(&self, key: Key, begin: BeginUpload) -> Result<(), CommandError> {
        let cancelled = CancellationToken::new();
        let upload = Some(Upload::new(begin.length, cancelled.child_token()));
        let exchange = HttpExchange { sidecar: begin.sidecar, cancelled, upload, ..HttpExchange::default() };
        self.exchanges.begin(key, Exchange::Http(Arc::new(exchange)))?.keep();
        Ok(())
    }

    /// The exchange whose body the page has begun to send to this sidecar, and that body.
    pub(super) fn begun_upload(
        &self,
        key: &Key,
        sidecar: &str,
    ) -> Result<(Arc<HttpExchange>, UploadBody), CommandError> {
        let begun = self.exchanges.get(key).and_then(|exchange| {
            let Exchange::Http(exchange) = exchange else { return None };
            let upload = exchange.upload.as_ref().filter(|_| exchange.sidecar == sidecar)?;
            let body = lock(&upload.body).take()?;
            Some((exchange, body))
        });
        begun.ok_or_else(|| CommandError::no_response("the page has begun no body for this request"))
    }
}

impl Upload {
    fn new(length: Option<u64>, ended: CancellationToken) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let until_ended = Box::pin(ended.clone().cancelled_owned());
        let body = UploadBody {
            pieces,
            remaining: length,
            is_complete: Arc::default(),
            ended: ended.clone(),
            until_ended,
        };
        Self { pieces: sender, ended, body: Mutex::new(Some(body)), writing: sync::Mutex::default() }
    }

    /// Sends a part of the body, which may be the last. Returns when the body has room for it, and whether the sidecar wants more.
    pub(super) async fn write(&self, bytes: &[u8], is_last: bool) -> Result<bool, CommandError> {
        if bytes.len() > MAX_PIECE {
            let reason =
                format!("a piece of {} bytes was not sent: at most {MAX_PIECE} are allowed", bytes.len());
            return Err(CommandError::no_response(reason));
        }
        let _turn = self.writing.try_lock().map_err(|_| CommandError::no_response(ONE_WRITE))?;
        let send = async {
            if !bytes.is_empty() {
                self.pieces.send(Piece::Bytes(Bytes::copy_from_slice(bytes))).await.ok()?;
            }
            if is_last {
                self.pieces.send(Piece::End).await.ok()?;
            }
            Some(())
        };
        Ok(self.ended.run_until_cancelled(send).await.flatten().is_some())
    }

    /// Whether the sidecar wants no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }
}

/// Sends a request whose body is made meanwhile, on a connection of its own. The response may come before the end of that body, which then
/// goes on until the body of the response has ended or was dropped.
pub(super) async fn send(
    access: &Access,
    request: Request<UploadBody>,
) -> Result<Response<ResponseBody>, HttpError> {
    // A body that is not complete then breaks the connection off.
    let end_on_drop = request.body().ended.clone().drop_guard();
    let response = send_over(access.connect().await?, request).await?;
    Ok(response.map(|incoming| ResponseBody::of_upload(incoming, end_on_drop)))
}

async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<UploadBody>,
) -> Result<Response<Incoming>, HttpError> {
    let (mut sender, connection) =
        http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(ReadsOn(stream))).await?;
    let UploadBody { ended, is_complete, .. } = request.body();
    let (ended, is_complete) = (ended.clone(), Arc::clone(is_complete));
    // This task ends with the response and with the body. The sender and the response report the connection's errors.
    async_runtime::spawn(task(async move {
        let mut connection = task(async move { drop(connection.await) });
        let by_itself = ended.run_until_cancelled(&mut connection).await.is_some();
        // A sidecar that takes nothing more must not keep the connection. The rest of a body that is complete is sent on, as that of any other.
        if !by_itself && is_complete.load(Ordering::Relaxed) {
            Driver::Open(connection).finish(BODY_STALL_TIMEOUT).await;
        }
    }));
    Ok(sender.send_request(request).await?)
}

/// A connection that is read to its end also if the sidecar takes no more of it. A sidecar may answer and close it before it has read the
/// body; hyper would report that the body cannot be sent, and lose the answer.
struct ReadsOn<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for ReadsOn<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadsOn<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // If there is no answer either, the end of the stream says so.
        Pin::new(&mut self.0).poll_write(context, bytes).map(|written| written.or(Ok(bytes.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map(|flushed| flushed.or(Ok(())))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.is_complete.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        if this.until_ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::Error::other("the request ended before its body"))));
        }
        Poll::Ready(match ready!(this.pieces.poll_recv(context)) {
            Some(Piece::Bytes(bytes)) => {
                this.remaining = this.remaining.map(|left| left.saturating_sub(bytes.len() as u64));
                // The connection then asks for no more.
                this.is_complete.store(this.remaining == Some(0), Ordering::Relaxed);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Piece::End) => {
                this.is_complete.store(true, Ordering::Relaxed);
                None
            }
            None => Some(Err(io::Error::other("the page did not send the body to its end"))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
