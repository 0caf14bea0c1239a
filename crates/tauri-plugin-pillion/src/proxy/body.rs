//! The body of a response on its way to the page.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pillion::Lease;
use tokio::{sync::mpsc, time};

use crate::desktop::http_pool::{HttpError, ResponseBody};

/// A body whose announced length is at most this, in bytes, is sent whole with the head. The head of any other body carries the
/// bytes that arrive within [`ROUND_TRIP`](super::ROUND_TRIP).
const SHORT_BODY: u64 = 64 * 1024;
/// The maximum size of a chunk that the page receives, beyond the last read from the connection.
const CHUNK: usize = 1024 * 1024;

pub(super) type Chunk = Result<Vec<u8>, HttpError>;

/// What follows the first bytes of a body.
pub(super) enum Rest {
    Body(ResponseBody),
    /// It broke off. The page learns that where it reads the body, as of any other body.
    Broken(HttpError),
    /// Nothing.
    End,
}

/// The first bytes of a body, or all of a short one, if they arrive within `limit`; and the rest of the body.
pub(super) async fn read_start(mut body: ResponseBody, limit: Duration) -> (Vec<u8>, Rest) {
    let mut start = Vec::new();
    let is_short = body.remaining().is_some_and(|length| length <= SHORT_BODY);
    let ended = time::timeout(limit, async {
        while let Some(bytes) = body.next().await? {
            start.extend_from_slice(&bytes);
            if !is_short {
                return Ok(false);
            }
        }
        Ok(true)
    });
    let rest = match ended.await {
        Ok(Ok(true)) => Rest::End,
        Ok(Ok(false)) | Err(_) => Rest::Body(body),
        Ok(Err(error)) => Rest::Broken(error),
    };
    (start, rest)
}

/// Passes a body on in chunks, until its end or until the receiver is dropped. One chunk waits in the channel while the next one
/// grows. When that one is full too, the sidecar is not read until the page takes the first.
pub(super) async fn pump(
    mut body: ResponseBody,
    chunks: mpsc::Sender<Chunk>,
    complete: Arc<AtomicBool>,
    lease: Option<Lease>,
) {
    let mut chunk = Vec::new();
    let end = loop {
        tokio::select! {
            biased;
            more = body.next(), if chunk.len() < CHUNK => match more {
                Ok(Some(bytes)) => chunk.extend_from_slice(&bytes),
                Ok(None) => break None,
                Err(error) => break Some(error),
            },
            slot = chunks.reserve(), if !chunk.is_empty() => match slot {
                Ok(slot) => slot.send(Ok(mem::take(&mut chunk))),
                Err(_) => return,
            },
            () = chunks.closed() => return,
        }
    };
    complete.store(true, Ordering::Relaxed);
    drop(lease);
    let rest = (!chunk.is_empty()).then_some(Ok(chunk));
    for last in rest.into_iter().chain(end.map(Err)) {
        // Fails if the page has cancelled the request.
        let _ = chunks.send(last).await;
    }
}
