//! WebSockets of pages to sidecars without a port. The page has an object with the interface of a WebSocket
//! (`guest-js/ipc-websocket.ts`); the app speaks RFC 6455 with the sidecar, and passes messages in batches.
//!
//! The page takes messages by `read`, whose response comes as soon as there are any. A channel would not wait for the page: what it has
//! not taken stays in the app's memory.

mod handshake;
mod messages;

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use pillion::Supervisor;
use tauri::async_runtime;
use tokio::{
    sync::{self, mpsc, oneshot},
    time,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

use self::handshake::Handshake;
use super::Proxy;
use crate::{command_error::CommandError, ipc_message::RequestHead, lock::lock};

/// How many WebSockets one webview may have open. Chromium allows as many to one server.
const MAX_OPEN: usize = 255;
/// The maximum size of one message in bytes, in each direction: page and app hold a message as a whole.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// The size from which a batch of messages for the page grows no more, in bytes.
const BATCH: usize = 1024 * 1024;
/// The buffer that each connection is read with, in bytes.
const READ_BUFFER: usize = 16 * 1024;
/// How long the sidecar may take for a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The label of a webview, and the id that its page chose.
type Key = (String, u32);

/// The WebSockets of all webviews.
#[derive(Debug, Default)]
pub(super) struct WebSockets(Mutex<HashMap<Key, Arc<WebSocket>>>);

/// The page's end of a WebSocket.
#[derive(Debug)]
struct WebSocket {
    /// Closes the connection.
    cancelled: CancellationToken,
    incoming: sync::Mutex<mpsc::Receiver<Batch>>,
    outgoing: mpsc::Sender<Outgoing>,
}

/// Messages for the page, as [`messages`] encodes them.
#[derive(Debug)]
struct Batch {
    messages: Vec<u8>,
    /// Why there are no more messages; an empty text after a closing handshake.
    end: Option<String>,
}

/// Messages of the page.
#[derive(Debug)]
struct Outgoing {
    messages: Vec<Message>,
    /// Told when the connection has taken all of them.
    sent: oneshot::Sender<()>,
}

impl Proxy {
    /// Opens a WebSocket to the current run of the sidecar, or to the next one. Returns one IPC message with the head of the response. If the
    /// sidecar does not open it, the status is another than 101, and the reason follows the head.
    pub(crate) async fn open_web_socket(
        &self,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
    ) -> Result<Vec<u8>, CommandError> {
        let key = (webview.to_owned(), head.id);
        let handshake = Handshake::new(head)?;
        // The WebSocket is a use of a sidecar on demand until it has closed.
        let lease = supervisor.lease();
        let cancelled = CancellationToken::new();
        let (batches, incoming) = mpsc::channel(1);
        let (outgoing, queue) = mpsc::channel(1);
        let incoming = sync::Mutex::new(incoming);
        let socket = Arc::new(WebSocket { cancelled: cancelled.clone(), incoming, outgoing });
        let registration = self.web_sockets.register(key, &socket)?;
        let opened = cancelled.run_until_cancelled(handshake.perform(supervisor)).await;
        let opened =
            opened.unwrap_or_else(|| Err(CommandError::no_response("the page closed the WebSocket")));
        let (message, upgraded) = opened?;
        let Some(upgraded) = upgraded else { return Ok(message) };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        async_runtime::spawn(async move {
            cancelled.run_until_cancelled(pass(stream, batches, queue)).await;
            drop(lease);
        });
        registration.keep();
        Ok(message)
    }
}

impl WebSockets {
    /// The next messages of a WebSocket, at least one. `None` if the page has no WebSocket of this id.
    pub(super) async fn read(&self, key: &Key) -> Option<Result<Vec<u8>, CommandError>> {
        let socket = self.get(key)?;
        let batch = socket.cancelled.run_until_cancelled(async { socket.incoming.lock().await.recv().await });
        let last = "the WebSocket has closed".to_owned();
        let last = Batch { messages: Vec::new(), end: Some(last) };
        let Batch { messages, end } = batch.await.flatten().unwrap_or(last);
        if end.is_some() {
            self.forget(key, &socket);
        }
        let reason = end.filter(|_| messages.is_empty());
        Some(reason.map_or(Ok(messages), |reason| Err(CommandError::no_response(reason))))
    }

    /// Removes a WebSocket whose connection ends by itself. A cancelled one is removed already, and its id may be in use again.
    fn forget(&self, key: &Key, socket: &Arc<WebSocket>) {
        let mut sockets = lock(&self.0);
        if sockets.get(key).is_some_and(|current| Arc::ptr_eq(current, socket)) {
            sockets.remove(key);
        }
    }

    /// Sends messages of the page, and returns when the connection has taken them. The page waits for that before it sends more. `None` if the
    /// page has no WebSocket of this id.
    pub(super) async fn write(&self, key: &Key, messages: &[u8]) -> Option<Result<(), CommandError>> {
        let socket = self.get(key)?;
        Some(socket.write(messages).await)
    }

    /// Closes the connection of a WebSocket.
    pub(super) fn end(&self, key: &Key) {
        if let Some(socket) = lock(&self.0).remove(key) {
            socket.cancelled.cancel();
        }
    }

    /// Closes the connections of a webview.
    pub(super) fn end_all_of(&self, webview: &str) {
        lock(&self.0).retain(|(owner, _), socket| {
            if owner == webview {
                socket.cancelled.cancel();
            }
            owner != webview
        });
    }

    fn get(&self, key: &Key) -> Option<Arc<WebSocket>> {
        lock(&self.0).get(key).cloned()
    }

    fn register(&self, key: Key, socket: &Arc<WebSocket>) -> Result<Registration<'_>, CommandError> {
        let mut sockets = lock(&self.0);
        if sockets.keys().filter(|(owner, _)| *owner == key.0).count() >= MAX_OPEN {
            let reason = format!("the page has {MAX_OPEN} WebSockets already: close one first");
            return Err(CommandError::no_response(reason));
        }
        match sockets.entry(key.clone()) {
            Entry::Occupied(_) => {
                Err(CommandError::no_response(format!("WebSocket {} is already under way", key.1)))
            }
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(socket));
                Ok(Registration { sockets: self, key: Some(key) })
            }
        }
    }
}

impl WebSocket {
    async fn write(&self, messages: &[u8]) -> Result<(), CommandError> {
        let messages = messages::decode(messages)
            .ok_or_else(|| CommandError::no_response("the bytes are not messages of a WebSocket"))?;
        if let Some(large) = messages.iter().map(Message::len).find(|length| *length > MAX_MESSAGE) {
            return Err(CommandError::no_response(format!(
                "a message of {large} bytes was not sent: at most {MAX_MESSAGE} are allowed"
            )));
        }
        let sent = async {
            let (sent, done) = oneshot::channel();
            self.outgoing.send(Outgoing { messages, sent }).await.ok()?;
            done.await.ok()
        };
        let sent = self.cancelled.run_until_cancelled(sent).await.flatten();
        sent.ok_or_else(|| CommandError::no_response("the WebSocket has closed"))
    }
}

/// The registration of a WebSocket. Dropping it removes the WebSocket, unless [`keep`](Self::keep) was called.
struct Registration<'a> {
    sockets: &'a WebSockets,
    key: Option<Key>,
}

impl Registration<'_> {
    fn keep(mut self) {
        self.key = None;
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.sockets.end(key);
        }
    }
}

/// Passes messages in both directions until the connection has ended or the page has closed it. Each direction goes on while the other one
/// waits: a sidecar that answers each message may read the next one only when its answer is taken.
async fn pass<S>(stream: S, batches: mpsc::Sender<Batch>, mut queue: mpsc::Receiver<Outgoing>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error>,
{
    let (sink, stream) = stream.split();
    let mut receive = pin!(receive(stream, batches));
    tokio::select! {
        () = &mut receive => return,
        () = transmit(sink, &mut queue) => queue.close(),
    }
    // A sidecar that does not answer the close keeps no connection.
    let _ = time::timeout(CLOSE_TIMEOUT, receive).await;
}

/// Sends the messages of the page, until one of them is a close or the connection has ended.
async fn transmit(mut sink: impl Sink<Message, Error = Error> + Unpin, queue: &mut mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { messages, sent }) = queue.recv().await {
        for message in messages {
            let closes = message.is_close();
            // `receive` gets errors as well.
            if sink.feed(message).await.is_err() || (closes && sink.flush().await.is_err()) {
                return;
            }
            if closes {
                let _ = sent.send(());
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
        let _ = sent.send(());
    }
}

/// Passes the messages of the sidecar on in batches. One waits in the channel while the next one grows. When that one is full too, the
/// sidecar is not read until the page takes the first. The library answers pings meanwhile.
async fn receive(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    batches: mpsc::Sender<Batch>,
) {
    let mut messages = Vec::new();
    let end = loop {
        tokio::select! {
            biased;
            message = stream.next(), if messages.len() < BATCH => match message {
                Some(Ok(message)) => {
                    messages::encode(&message, &mut messages);
                    if message.is_close() {
                        break String::new();
                    }
                }
                Some(Err(error)) => break error.to_string(),
                None => break "the connection ended without a closing handshake".to_owned(),
            },
            slot = batches.reserve(), if !messages.is_empty() => match slot {
                Ok(slot) => slot.send(Batch { messages: mem::take(&mut messages), end: None }),
                Err(_) => return,
            },
            () = batches.closed() => return,
        }
    };
    let is_closed = end.is_empty();
    // Messages that came before an error are not lost: the page gets the error by its next read.
    if !is_closed && !messages.is_empty() {
        let _ = batches.send(Batch { messages: mem::take(&mut messages), end: None }).await;
    }
    // The page need not wait for the end of the connection. That the next read sends the answer to the close is up to the library.
    let (_, ()) = tokio::join!(batches.send(Batch { messages, end: Some(end) }), async {
        if is_closed {
            let _ = time::timeout(CLOSE_TIMEOUT, stream.next()).await;
        }
    });
}
