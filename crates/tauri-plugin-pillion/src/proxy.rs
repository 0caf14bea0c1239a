//! Proxies the requests of pages to sidecars: for sidecars without a port, which a page cannot reach by itself.

mod body;
mod exchanges;
#[cfg(any(test, not(feature = "websocket")))]
#[cfg_attr(feature = "websocket", expect(dead_code, reason = "only its test runs"))]
mod no_web_socket;
mod outgoing;
mod unread;
mod upload;
#[cfg(feature = "websocket")]
mod web_socket;

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{HeaderMap, body::Bytes, header};
#[cfg(not(feature = "websocket"))]
use no_web_socket as web_socket;
use pillion::Supervisor;
use tauri::async_runtime;
use tokio::{
    sync::{self, mpsc, watch},
    task::yield_now,
};
use tokio_util::sync::CancellationToken;

use self::{
    body::{Chunk, Rest, pump, read_start},
    exchanges::{Exchange, Exchanges, Key, Registration},
    outgoing::{parse, send_to_run, send_upload},
    unread::{PendingRead, STREAM_GRACE},
    upload::{Upload, UploadBody},
    web_socket::WebSocket,
};
use crate::desktop::{
    command_error::CommandError,
    http_pool::HttpPool,
    ipc_message::{self, RequestHead, ResponseHead, WriteHead},
    lock::lock,
    task::task,
};

/// About the time that one IPC call of the page takes. If the head waited longer for the first bytes of the body, the page would
/// get both later than by a second call.
const ROUND_TRIP: Duration = Duration::from_millis(3);

/// The page's own code makes one call after another. More would keep their bytes in the app.
const ONE_WRITE: &str = "the page sends already, and may do so in one call at a time";

/// The proxied requests of all webviews, and the connections to the sidecars.
#[derive(Debug)]
pub(crate) struct Proxy {
    exchanges: Exchanges,
    /// By the name of the sidecar.
    pools: Mutex<HashMap<String, Arc<HttpPool>>>,
    /// How long a head waits for the first bytes of its body.
    round_trip: Duration,
    /// [`STREAM_GRACE`].
    stream_grace: Duration,
    /// Orders the times of [`HttpExchange::unread_since`].
    clock: AtomicU64,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            exchanges: Exchanges::default(),
            pools: Mutex::default(),
            round_trip: ROUND_TRIP,
            stream_grace: STREAM_GRACE,
            clock: AtomicU64::default(),
        }
    }
}

/// One request and its response.
#[derive(Debug, Default)]
struct HttpExchange {
    sidecar: String,
    cancelled: CancellationToken,
    /// The body of the request, if the page sends it in pieces.
    upload: Option<Upload>,
    /// The rest of the response's body in chunks, once the head was sent to the page.
    chunks: sync::Mutex<Option<mpsc::Receiver<Chunk>>>,
    /// The place of the next chunk. A read waits for its turn, because calls of a page may arrive in another order.
    next: watch::Sender<u32>,
    /// How many reads wait for the next chunk.
    reads: AtomicUsize,
    is_event_stream: AtomicBool,
    /// From when on the response is unread, also by [`Proxy::clock`]; `None` while a read waits for the next part.
    unread_since: Mutex<Option<(Instant, u64)>>,
    /// Whether the body has arrived as a whole, so that the exchange occupies no connection.
    complete: Arc<AtomicBool>,
}

impl HttpExchange {
    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        let done = self.cancelled.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(CommandError::no_response("the page cancelled the request")))
    }
}

impl Proxy {
    /// Sends a request to the current run of the sidecar, or to the next one. Returns one IPC message with the head of the
    /// response and the bytes of its body that are already there. The page gets the rest by [`read`](Self::read).
    ///
    /// The first poll registers the request.
    pub(crate) async fn send(
        &self,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
        body: &[u8],
    ) -> Result<Vec<u8>, CommandError> {
        let (registration, exchange, upload) = self.begin((webview.to_owned(), head.id), &head)?;
        if head.registers_first {
            yield_now().await;
        }
        // Also here: a sidecar without a free connection refuses the request.
        self.evict_unread(&exchange.sidecar);
        // The request is a use of a sidecar on demand until the body of the response has arrived as a whole.
        let mut lease = Some(supervisor.lease());
        let pool = Arc::clone(lock(&self.pools).entry(head.sidecar.clone()).or_default());
        let response = exchange.unless_cancelled(async {
            let request = parse(head, Bytes::copy_from_slice(body))?;
            let response = match upload {
                None => Some(send_to_run(&pool, supervisor, request).await?),
                Some(body) => send_upload(supervisor, request.map(|_| body)).await?,
            };
            let Some(response) = response else {
                let head = ResponseHead::superseded();
                return Ok((ipc_message::encode(&head, &[]).map_err(CommandError::no_response)?, true));
            };
            let (head, body) = response.into_parts();
            exchange.is_event_stream.store(is_event_stream(&head.headers), Ordering::Relaxed);
            let (start, rest) = read_start(body, self.round_trip).await;
            let (sender, chunks) = mpsc::channel(1);
            let ended = match rest {
                Rest::End => true,
                Rest::Body(rest) => {
                    let pumped = pump(rest, sender, Arc::clone(&exchange.complete), lease.take());
                    async_runtime::spawn(task(pumped));
                    false
                }
                // The channel has room for one chunk.
                Rest::Broken(error) => {
                    exchange.complete.store(true, Ordering::Relaxed);
                    drop(sender.try_send(Err(error)));
                    false
                }
            };
            if !ended {
                *exchange.chunks.lock().await = Some(chunks);
            }
            let head = ResponseHead::of(&head, ended);
            Ok((ipc_message::encode(&head, &start).map_err(CommandError::no_response)?, ended))
        });
        let (message, ended) = response.await?;
        if !ended {
            self.set_unread(&exchange);
            registration.keep();
            self.evict_unread(&exchange.sidecar);
        }
        Ok(message)
    }

    /// Opens a WebSocket to the current run of the sidecar, or to the next one. Returns one IPC message with the head of the response. If the
    /// sidecar does not open it, the status is another than 101, and the reason follows the head. The first poll registers
    /// it.
    pub(crate) async fn open_web_socket(
        &self,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
    ) -> Result<Vec<u8>, CommandError> {
        WebSocket::open(self, webview, supervisor, head).await
    }

    /// Sends messages of a WebSocket, or a piece of a body; see [`commands::write`](crate::desktop::commands::write).
    pub(crate) async fn write(
        &self,
        webview: &str,
        head: WriteHead,
        bytes: &[u8],
    ) -> Result<bool, CommandError> {
        let key = (webview.to_owned(), head.id);
        if let Some(begin) = head.upload.begin {
            self.begin_upload(key.clone(), begin)?;
        }
        match self.exchanges.get(&key) {
            Some(Exchange::WebSocket(socket)) => socket.write(bytes).await,
            Some(Exchange::Http(exchange)) => match &exchange.upload {
                Some(upload) => upload.write(bytes, head.upload.end).await,
                None => Ok(false),
            },
            None => Ok(false),
        }
    }

    /// The chunk of the body at this place, counted from zero; empty at the end of the body. Without a place, the next one. The page may
    /// ask for several at a time, and gets them in order. The sidecar is read only as fast as the page reads: see [`pump`].
    ///
    /// For a WebSocket, the next messages.
    pub(crate) async fn read(
        &self,
        webview: &str,
        id: u32,
        place: Option<u32>,
    ) -> Result<Vec<u8>, CommandError> {
        let key = (webview.to_owned(), id);
        let exchange = match self.exchanges.get(&key) {
            Some(Exchange::Http(exchange)) => exchange,
            Some(Exchange::WebSocket(socket)) => return socket.read(self, &key).await,
            None => return Err(CommandError::no_response("there is no such request")),
        };
        let chunk = exchange.unless_cancelled(async {
            if let Some(place) = place {
                let mut next = exchange.next.subscribe();
                let reached = next.wait_for(|next| *next >= place).await.is_ok_and(|next| *next == place);
                if !reached {
                    return Err(CommandError::no_response(format!("chunk {place} was read already")));
                }
            }
            // Not before its turn: a page that leaves a place out would otherwise keep the response for ever.
            let _waiting = PendingRead::begin(self, &exchange);
            let mut chunks = exchange.chunks.lock().await;
            let chunks =
                chunks.as_mut().ok_or_else(|| CommandError::no_response("there is no response yet"))?;
            let chunk = chunks.recv().await.unwrap_or(Ok(Vec::new())).map_err(CommandError::no_response);
            exchange.next.send_modify(|next| *next = next.wrapping_add(1));
            chunk
        });
        let chunk = chunk.await;
        if chunk.as_ref().is_ok_and(Vec::is_empty) || chunk.is_err() {
            self.exchanges.finish(&key, &Exchange::Http(exchange));
        }
        chunk
    }

    /// Cancels one request or WebSocket of this webview, at any stage. An id of another webview has no effect.
    pub(crate) fn cancel(&self, webview: &str, id: u32) {
        self.exchanges.end(&(webview.to_owned(), id));
    }

    /// Cancels all requests and WebSockets of a webview.
    pub(crate) fn cancel_all_of(&self, webview: &str) {
        self.exchanges.end_all_of(webview);
    }

    /// Begins the exchange of a request, or goes on with the one whose body the page has begun to send.
    fn begin(
        &self,
        key: Key,
        head: &RequestHead,
    ) -> Result<(Registration<'_>, Arc<HttpExchange>, Option<UploadBody>), CommandError> {
        if head.upload {
            let (exchange, body) = self.begun_upload(&key, &head.sidecar)?;
            let registration = self.exchanges.registration(key, Exchange::Http(Arc::clone(&exchange)));
            return Ok((registration, exchange, Some(body)));
        }
        let exchange = Arc::new(HttpExchange { sidecar: head.sidecar.clone(), ..HttpExchange::default() });
        Ok((self.exchanges.begin(key, Exchange::Http(Arc::clone(&exchange)))?, exchange, None))
    }
}

/// Whether a response with these headers is a stream of server-sent events.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}

#[cfg(test)]
mod tests;
