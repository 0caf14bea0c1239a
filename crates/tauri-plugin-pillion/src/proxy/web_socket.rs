//! WebSockets of pages to sidecars without a port. The page has an object with the interface of a WebSocket
//! (`guest-js/ipc-websocket.ts`); the app speaks RFC 6455 with the sidecar, and passes messages in batches.
//!
//! The page takes messages by `read`, whose response comes as soon as there are any. A channel would not wait for the page: what it has
//! not taken stays in the app's memory.

pub(super) mod handshake;
mod messages;

use std::{mem, pin::pin, sync::Arc, time::Duration};

use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use pillion::Supervisor;
use tauri::async_runtime;
use tokio::{
    sync::{self, mpsc, oneshot},
    task::yield_now,
    time::{self, Instant},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use self::handshake::Handshake;
use super::{Exchange, Key, ONE_WRITE, Proxy};
use crate::desktop::{command_error::CommandError, ipc_message::RequestHead, task::task};

/// The maximum size of one message in bytes, in each direction: page and app hold a message as a whole.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// The size from which a batch of messages for the page grows no more, in bytes.
const BATCH: usize = 1024 * 1024;
/// The buffer that each connection is read with, in bytes.
const READ_BUFFER: usize = 16 * 1024;
/// How long the sidecar may take for a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the app tries to tell the sidecar that the page has gone.
const AWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// The page's end of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    /// Closes the connection.
    cancelled: CancellationToken,
    incoming: sync::Mutex<mpsc::Receiver<Batch>>,
    outgoing: mpsc::Sender<Outgoing>,
    /// Held by a call of the page that sends messages. Others would keep theirs in the app.
    writing: sync::Mutex<()>,
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

impl WebSocket {
    /// Does what [`Proxy::open_web_socket`] says.
    pub(super) async fn open(
        proxy: &Proxy,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
    ) -> Result<Vec<u8>, CommandError> {
        let key = (webview.to_owned(), head.id);
        let registers_first = head.registers_first;
        let handshake = Handshake::new(head)?;
        // The WebSocket is a use of a sidecar on demand until it has closed.
        let lease = supervisor.lease();
        let cancelled = CancellationToken::new();
        let (batches, incoming) = mpsc::channel(1);
        let (outgoing, queue) = mpsc::channel(1);
        let incoming = sync::Mutex::new(incoming);
        let writing = sync::Mutex::default();
        let socket = Arc::new(Self { cancelled: cancelled.clone(), incoming, outgoing, writing });
        let registration = proxy.exchanges.begin(key, Exchange::WebSocket(socket))?;
        if registers_first {
            yield_now().await;
        }
        let opened = cancelled.run_until_cancelled(handshake.perform(|| supervisor.access())).await;
        let opened =
            opened.unwrap_or_else(|| Err(CommandError::no_response("the page closed the WebSocket")));
        let (message, upgraded) = opened?;
        let Some(upgraded) = upgraded else { return Ok(message) };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let mut stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        async_runtime::spawn(task(async move {
            cancelled.run_until_cancelled(pass(&mut stream, batches, queue)).await;
            if cancelled.is_cancelled() {
                // As a browser does when its page goes: RFC 6455, section 7.4.1.
                let away = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::default() };
                let _ = time::timeout(AWAY_TIMEOUT, stream.close(Some(away))).await;
            }
            drop(lease);
        }));
        registration.keep();
        Ok(message)
    }

    /// The next messages, at least one. Forgets a WebSocket that has no more.
    pub(super) async fn read(self: Arc<Self>, proxy: &Proxy, key: &Key) -> Result<Vec<u8>, CommandError> {
        let batch = self.cancelled.run_until_cancelled(async { self.incoming.lock().await.recv().await });
        let last = "the WebSocket has closed".to_owned();
        let last = Batch { messages: Vec::new(), end: Some(last) };
        let Batch { messages, end } = batch.await.flatten().unwrap_or(last);
        if end.is_some() {
            // Not cancelled: its connection ends by itself.
            proxy.exchanges.forget(key, &Exchange::WebSocket(self));
        }
        let reason = end.filter(|_| messages.is_empty());
        reason.map_or(Ok(messages), |reason| Err(CommandError::no_response(reason)))
    }

    pub(super) fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Sends messages of the page, and returns when the connection has taken them; false if it takes no more, because it has closed: the
    /// page may have messages to read still. The page waits for the result before it sends more.
    pub(super) async fn write(&self, messages: &[u8]) -> Result<bool, CommandError> {
        let _turn = self.writing.try_lock().map_err(|_| CommandError::no_response(ONE_WRITE))?;
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
        Ok(sent.is_some())
    }
}

/// Passes messages in both directions until the connection has ended or the page has closed it. Each direction goes on while the other one
/// waits: a sidecar that answers each message may read the next one only when its answer is taken.
async fn pass<S>(stream: S, batches: mpsc::Sender<Batch>, queue: mpsc::Receiver<Outgoing>)
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error>,
{
    let (sink, stream) = stream.split();
    let closing = CancellationToken::new();
    let mut receive = pin!(receive(stream, batches, &closing, CLOSE_TIMEOUT));
    tokio::select! {
        () = &mut receive => return,
        () = transmit(sink, queue) => {}
    }
    closing.cancel();
    receive.await;
}

/// Sends the messages of the page, until one of them is a close or the connection has ended. What the page sends then is dropped.
async fn transmit(mut sink: impl Sink<Message, Error = Error> + Unpin, mut queue: mpsc::Receiver<Outgoing>) {
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
/// sidecar is not read until the page takes the first, and pings are not answered meanwhile. From `closing` on, the sidecar has `patience` to
/// answer the close; the time that the page takes does not count.
async fn receive(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    batches: mpsc::Sender<Batch>,
    closing: &CancellationToken,
    mut patience: Duration,
) {
    let mut messages = Vec::new();
    let end = loop {
        let limited_since = closing.is_cancelled().then(Instant::now);
        let has_room = messages.len() < BATCH;
        tokio::select! {
            biased;
            message = stream.next(), if has_room => match message {
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
            () = limit(closing, patience), if has_room => {
                break "the sidecar did not answer the close".to_owned();
            }
        }
        if let Some(since) = limited_since.filter(|_| has_room) {
            patience = patience.saturating_sub(since.elapsed());
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

async fn limit(closing: &CancellationToken, patience: Duration) {
    closing.cancelled().await;
    time::sleep(patience).await;
}

#[cfg(test)]
mod tests {
    use futures_util::{future, stream};

    use super::*;

    #[tokio::test]
    async fn the_limit_of_the_close_is_not_for_the_page() {
        const COUNT: usize = 10;
        let sent = (0..COUNT).map(|_| Ok(Message::binary(vec![7; BATCH / 2])));
        let stream = stream::iter(sent).chain(stream::pending());
        let (batches, mut incoming) = mpsc::channel(1);
        let closing = CancellationToken::new();
        closing.cancel();
        let page = async {
            let mut length = 0;
            while let Some(Batch { messages, end }) = incoming.recv().await {
                length += messages.iter().filter(|byte| **byte == 7).count();
                if let Some(end) = end {
                    return (length, end);
                }
            }
            (length, String::new())
        };
        let ((), (length, end)) =
            future::join(receive(stream, batches, &closing, Duration::ZERO), page).await;
        assert_eq!((length, end.as_str()), (COUNT * BATCH / 2, "the sidecar did not answer the close"));
    }
}
