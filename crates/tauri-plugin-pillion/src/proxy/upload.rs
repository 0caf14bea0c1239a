//! The bodies of requests that pages send in pieces, so that neither page nor app holds the whole of one.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use pillion::Access;
use tauri::async_runtime;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{
    command_error::CommandError,
    http_pool::{HttpError, ResponseBody},
    ipc_message::{MAX_HEADERS, UploadHead},
    lock::lock,
};

/// The label of a webview, and the id that its page chose for the request.
type Key = (String, u32);

/// The bodies that pages are sending.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<Key, Arc<Upload>>>);

/// The page's end of a body.
#[derive(Debug)]
struct Upload {
    pieces: mpsc::Sender<Piece>,
    /// Cancelled when the sidecar wants no more: its answer is complete, or the connection broke.
    ended: CancellationToken,
    /// The other end, until the request takes it.
    body: Mutex<Option<UploadBody>>,
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
    is_complete: bool,
    ended: CancellationToken,
    until_ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Uploads {
    /// Sends a part of a body. Returns when the body has room for it, and whether the sidecar wants more.
    pub(super) async fn write(
        &self,
        key: &Key,
        head: UploadHead,
        bytes: &[u8],
    ) -> Result<bool, CommandError> {
        if let Some(begin) = head.begin {
            self.begin(key, begin.length)?;
        }
        let upload = lock(&self.0).get(key).cloned();
        let Some(upload) = upload else { return Ok(false) };
        let send = async {
            if !bytes.is_empty() {
                upload.pieces.send(Piece::Bytes(Bytes::copy_from_slice(bytes))).await.ok()?;
            }
            if head.end {
                upload.pieces.send(Piece::End).await.ok()?;
            }
            Some(())
        };
        let is_wanted = upload.ended.run_until_cancelled(send).await.flatten().is_some();
        if head.end || !is_wanted {
            self.forget(key, &upload);
        }
        Ok(is_wanted)
    }

    /// The body that the page has begun to send for this request.
    pub(super) fn take(&self, key: &Key) -> Result<UploadBody, CommandError> {
        let upload = lock(&self.0).get(key).cloned();
        let body = upload.and_then(|upload| lock(&upload.body).take());
        body.ok_or_else(|| CommandError::no_response("the page has begun no body for this request"))
    }

    /// Ends the upload of a request.
    pub(super) fn end(&self, key: &Key) {
        if let Some(upload) = lock(&self.0).remove(key) {
            upload.ended.cancel();
        }
    }

    /// Ends the uploads of a webview.
    pub(super) fn end_all_of(&self, webview: &str) {
        lock(&self.0).retain(|(owner, _), upload| {
            if owner == webview {
                upload.ended.cancel();
            }
            owner != webview
        });
    }

    fn begin(&self, key: &Key, length: Option<u64>) -> Result<(), CommandError> {
        match lock(&self.0).entry(key.clone()) {
            Entry::Occupied(_) => {
                Err(CommandError::no_response(format!("the body of request {} has begun already", key.1)))
            }
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(Upload::new(length)));
                Ok(())
            }
        }
    }

    /// Removes an upload that has ended. Another one may have its id.
    fn forget(&self, key: &Key, upload: &Arc<Upload>) {
        let mut uploads = lock(&self.0);
        if uploads.get(key).is_some_and(|current| Arc::ptr_eq(current, upload)) {
            uploads.remove(key);
        }
    }
}

impl Upload {
    fn new(length: Option<u64>) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let ended = CancellationToken::new();
        let until_ended = Box::pin(ended.clone().cancelled_owned());
        let body =
            UploadBody { pieces, remaining: length, is_complete: false, ended: ended.clone(), until_ended };
        Self { pieces: sender, ended, body: Mutex::new(Some(body)) }
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
    let stream = access.connect().await?;
    let (mut sender, connection) =
        http1::Builder::new().max_headers(MAX_HEADERS).handshake(TokioIo::new(stream)).await?;
    // This task ends with the response and with the body. The sender and the response report the connection's errors.
    async_runtime::spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await?;
    Ok(response.map(|incoming| ResponseBody::of_upload(incoming, end_on_drop)))
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.is_complete {
            return Poll::Ready(None);
        }
        if this.until_ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::Error::other("the request ended before its body"))));
        }
        Poll::Ready(match ready!(this.pieces.poll_recv(context)) {
            Some(Piece::Bytes(bytes)) => {
                this.remaining = this.remaining.map(|left| left.saturating_sub(bytes.len() as u64));
                Some(Ok(Frame::data(bytes)))
            }
            Some(Piece::End) => {
                this.is_complete = true;
                None
            }
            None => Some(Err(io::Error::other("the page did not send the body to its end"))),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
