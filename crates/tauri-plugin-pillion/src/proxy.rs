//! Proxies the requests of pages to sidecars: for sidecars without a port, which a page cannot reach by itself.

mod body;
mod outgoing;
mod unread;
mod upload;
mod web_socket;

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{HeaderMap, body::Bytes, header};
use pillion::Supervisor;
use tauri::async_runtime;
use tokio::sync::{self, mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::{
    body::{Chunk, pump, read_start},
    outgoing::{parse, send_to_run, send_upload},
    unread::{PendingRead, STREAM_GRACE},
    upload::Uploads,
    web_socket::WebSockets,
};
use crate::{
    command_error::CommandError,
    http_pool::HttpPool,
    ipc_message::{self, RequestHead, ResponseHead, WriteHead},
    lock::lock,
};

/// About the time that one IPC call of the page takes. If the head waited longer for the first bytes of the body, the page would
/// get both later than by a second call.
const ROUND_TRIP: Duration = Duration::from_millis(3);

/// The page's own code makes one call after another. More would keep their bytes in the app.
const ONE_WRITE: &str = "the page sends already, and may do so in one call at a time";

/// The proxied requests of all webviews, and the connections to the sidecars.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// By the label of the webview and the id that its page chose.
    exchanges: Mutex<HashMap<(String, u32), Arc<Exchange>>>,
    web_sockets: WebSockets,
    uploads: Uploads,
    /// By the name of the sidecar.
    pools: Mutex<HashMap<String, Arc<HttpPool>>>,
    /// How long a head waits for the first bytes of its body.
    round_trip: Duration,
    /// [`STREAM_GRACE`].
    stream_grace: Duration,
    /// Orders the times of [`Exchange::unread_since`].
    clock: AtomicU64,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            exchanges: Mutex::default(),
            web_sockets: WebSockets::default(),
            uploads: Uploads::default(),
            pools: Mutex::default(),
            round_trip: ROUND_TRIP,
            stream_grace: STREAM_GRACE,
            clock: AtomicU64::default(),
        }
    }
}

/// One request and its response.
#[derive(Debug, Default)]
struct Exchange {
    sidecar: String,
    cancelled: CancellationToken,
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

/// The registration of an exchange. Dropping it removes the exchange, also if the command's future is dropped or panics, unless
/// [`keep`](Self::keep) was called.
struct Registration<'a> {
    proxy: &'a Proxy,
    key: (String, u32),
    exchange: Arc<Exchange>,
    kept: bool,
}

impl Registration<'_> {
    /// Leaves the exchange registered, for the page to read the rest of the body.
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.proxy.finish(&self.key, &self.exchange);
        }
    }
}

impl Exchange {
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
    pub(crate) async fn send(
        &self,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
        body: Bytes,
    ) -> Result<Vec<u8>, CommandError> {
        let registration = self.begin((webview.to_owned(), head.id), head.sidecar.clone())?;
        let upload = head.upload.then(|| self.uploads.take(&registration.key)).transpose()?;
        let exchange = Arc::clone(&registration.exchange);
        // Also here: a sidecar without a free connection refuses the request.
        self.evict_unread(&exchange.sidecar);
        // The request is a use of a sidecar on demand until the body of the response has arrived as a whole.
        let mut lease = Some(supervisor.lease());
        let pool = Arc::clone(lock(&self.pools).entry(head.sidecar.clone()).or_default());
        let response = exchange.unless_cancelled(async {
            let request = parse(head, body)?;
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
            let (start, rest) = read_start(body, self.round_trip).await?;
            let ended = rest.is_none();
            if let Some(rest) = rest {
                let (sender, chunks) = mpsc::channel(1);
                *exchange.chunks.lock().await = Some(chunks);
                async_runtime::spawn(pump(rest, sender, Arc::clone(&exchange.complete), lease.take()));
            }
            let head = ResponseHead::new(head.status, &head.headers, ended);
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

    /// Sends messages of a WebSocket, or a piece of a body; see [`commands::write`](crate::commands::write).
    pub(crate) async fn write(
        &self,
        webview: &str,
        head: WriteHead,
        bytes: &[u8],
    ) -> Result<bool, CommandError> {
        let key = (webview.to_owned(), head.id);
        if let Some(sent) = self.web_sockets.write(&key, bytes).await {
            return sent;
        }
        self.uploads.write(&key, head.upload, bytes).await
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
        if let Some(messages) = self.web_sockets.read(&key).await {
            return messages;
        }
        let exchange = lock(&self.exchanges).get(&key).cloned();
        let exchange = exchange.ok_or_else(|| CommandError::no_response("there is no such request"))?;
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
            self.finish(&key, &exchange);
        }
        chunk
    }

    /// Cancels one request or WebSocket of this webview, at any stage. An id of another webview has no effect.
    pub(crate) fn cancel(&self, webview: &str, id: u32) {
        let key = (webview.to_owned(), id);
        self.web_sockets.end(&key);
        self.uploads.end(&key);
        self.end(&key);
    }

    /// Cancels all requests and WebSockets of a webview.
    pub(crate) fn cancel_all_of(&self, webview: &str) {
        self.web_sockets.end_all_of(webview);
        self.uploads.end_all_of(webview);
        lock(&self.exchanges).retain(|(owner, _), exchange| {
            if owner == webview {
                exchange.cancelled.cancel();
            }
            owner != webview
        });
    }

    fn begin(&self, key: (String, u32), sidecar: String) -> Result<Registration<'_>, CommandError> {
        let exchange = match lock(&self.exchanges).entry(key.clone()) {
            Entry::Occupied(_) => {
                return Err(CommandError::no_response(format!("request {} is already under way", key.1)));
            }
            Entry::Vacant(entry) => {
                Arc::clone(entry.insert(Arc::new(Exchange { sidecar, ..Exchange::default() })))
            }
        };
        Ok(Registration { proxy: self, key, exchange, kept: false })
    }

    /// Removes a finished exchange. A cancelled one is removed already, and its id may be in use again.
    fn finish(&self, key: &(String, u32), exchange: &Exchange) {
        if !exchange.cancelled.is_cancelled() {
            self.end(key);
        }
    }

    fn end(&self, key: &(String, u32)) {
        self.uploads.end(key);
        if let Some(exchange) = lock(&self.exchanges).remove(key) {
            exchange.cancelled.cancel();
        }
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
