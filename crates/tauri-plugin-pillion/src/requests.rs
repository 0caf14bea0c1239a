//! The requests that pages have under way through the app.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use pillion::{Access, Supervisor};
use tauri::async_runtime;
use tokio::{
    sync::{self, mpsc},
    time,
};
use tokio_util::sync::CancellationToken;

use crate::{
    framing::{self, Headers, RequestHead, ResponseHead},
    lock::lock,
    scope::Refusal,
    wire::{Body, Wire, WireError},
};

/// A body that is said to be no longer than this is sent with the head as a whole, of others the beginning, if it is there …
const SHORT: u64 = 64 * 1024;
/// … by the time that the page would need to ask for it.
const ROUND_TRIP: Duration = Duration::from_millis(3);
/// How much of a body the page is given at a time, at most, and what one reading of the connection brings.
const CHUNK: usize = 1024 * 1024;

/// What a page must not say, because the client says it, or because it is about the connection and not the request
/// (RFC 9110, section 7.6.1). `fetch` itself lets no page set them: <https://fetch.spec.whatwg.org/#forbidden-request-header>.
const OURS: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::ORIGIN,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

type Piece = Result<Vec<u8>, WireError>;

/// All of them, and the connections to the sidecars that they go by.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By the label of the webview and the number that its page gave.
    exchanges: Mutex<HashMap<(String, u32), Arc<Exchange>>>,
    wires: Mutex<HashMap<String, Arc<Wire>>>,
}

#[derive(Debug, Default)]
struct Exchange {
    cancelled: CancellationToken,
    /// The rest of the answer's body, once that has begun, piece by piece.
    pieces: sync::Mutex<Option<mpsc::Receiver<Piece>>>,
}

impl Exchange {
    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let done = self.cancelled.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(Refusal::Unanswered("the page gave it up".to_owned())))
    }
}

impl Requests {
    /// Sends a request to whatever run of the sidecar is there, or the next one, and answers with the head and what there
    /// is of the body, framed. The rest is for [`read`](Self::read).
    pub(crate) async fn send(
        &self,
        webview: &str,
        supervisor: &Supervisor,
        head: RequestHead,
        body: Bytes,
    ) -> Result<Vec<u8>, Refusal> {
        let key = (webview.to_owned(), head.id);
        let exchange = self.begin(&key)?;
        let wire = Arc::clone(lock(&self.wires).entry(head.sidecar.clone()).or_default());
        let answer = exchange.unless_cancelled(async {
            let request = parse(head, body)?;
            let (head, body) = ask(&wire, supervisor, request).await?.into_parts();
            let (start, rest) = first(body).await?;
            let ended = rest.is_none();
            if let Some(rest) = rest {
                let (sender, pieces) = mpsc::channel(1);
                *exchange.pieces.lock().await = Some(pieces);
                async_runtime::spawn(pass_on(rest, sender));
            }
            let head =
                ResponseHead { status: head.status.as_u16(), headers: Headers::from(&head.headers), ended };
            Ok((framing::join(&head, &start).map_err(unanswered)?, ended))
        });
        match answer.await {
            Ok((message, false)) => Ok(message),
            over => {
                self.finish(&key, &exchange);
                over.map(|(message, _)| message)
            }
        }
    }

    /// The next bytes of the body; none at its end. What nobody takes is not read from the sidecar: see [`pass_on`].
    pub(crate) async fn read(&self, webview: &str, id: u32) -> Result<Vec<u8>, Refusal> {
        let key = (webview.to_owned(), id);
        let exchange = lock(&self.exchanges).get(&key).cloned();
        let exchange = exchange.ok_or_else(|| Refusal::Unanswered("there is no such request".to_owned()))?;
        let chunk = exchange.unless_cancelled(async {
            let mut pieces = exchange.pieces.lock().await;
            let pieces =
                pieces.as_mut().ok_or_else(|| Refusal::Unanswered("there is no answer yet".to_owned()))?;
            pieces.recv().await.unwrap_or(Ok(Vec::new())).map_err(unanswered)
        });
        let chunk = chunk.await;
        if chunk.as_ref().is_ok_and(Vec::is_empty) || chunk.is_err() {
            self.finish(&key, &exchange);
        }
        chunk
    }

    /// Gives up one request of this webview, wherever it is; nobody can give up another's.
    pub(crate) fn cancel(&self, webview: &str, id: u32) {
        self.end(&(webview.to_owned(), id));
    }

    /// Gives up all requests of a webview.
    pub(crate) fn cancel_all_of(&self, webview: &str) {
        lock(&self.exchanges).retain(|(owner, _), exchange| {
            if owner == webview {
                exchange.cancelled.cancel();
            }
            owner != webview
        });
    }

    fn begin(&self, key: &(String, u32)) -> Result<Arc<Exchange>, Refusal> {
        match lock(&self.exchanges).entry(key.clone()) {
            Entry::Occupied(_) => Err(Refusal::Unanswered(format!("request {} is under way", key.1))),
            Entry::Vacant(entry) => Ok(Arc::clone(entry.insert(Arc::default()))),
        }
    }

    /// Forgets an exchange that is over. One that was cancelled is forgotten, and its number may be another's by now.
    fn finish(&self, key: &(String, u32), exchange: &Exchange) {
        if !exchange.cancelled.is_cancelled() {
            self.end(key);
        }
    }

    fn end(&self, key: &(String, u32)) {
        if let Some(exchange) = lock(&self.exchanges).remove(key) {
            exchange.cancelled.cancel();
        }
    }
}

/// The answer of the run that is there, or of the next one.
async fn ask(
    wire: &Arc<Wire>,
    supervisor: &Supervisor,
    request: Request<Full<Bytes>>,
) -> Result<Response<Body>, Refusal> {
    let mut access = supervisor.access().await?;
    loop {
        let sent = carrying(request.clone(), &access)?;
        let response = wire.send(&access, &sent).await.map_err(unanswered)?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // On a listener that outlives a restart the next run may have answered. It does not let the token of the last one in,
        // so nothing was done.
        let present = supervisor.access().await?;
        if present.token == access.token {
            return Ok(response);
        }
        access = present;
    }
}

fn parse(head: RequestHead, body: Bytes) -> Result<Request<Full<Bytes>>, Refusal> {
    let RequestHead { method, path, headers, .. } = head;
    let method = Method::try_from(method.as_str()).map_err(unanswered)?;
    // They are about the connection, and would have it lead elsewhere or echo the token (RFC 9110, section 9.3.6).
    if method == Method::CONNECT || method == Method::TRACE {
        return Err(Refusal::Unanswered(format!("{method} is not open to pages")));
    }
    if !path.starts_with('/') {
        return Err(Refusal::Unanswered(format!("a path begins with a slash, and {path:?} does not")));
    }
    let headers = headers.parse().map_err(unanswered)?;
    if let Some(name) = OURS.iter().find(|name| headers.contains_key(*name)) {
        return Err(Refusal::Unanswered(format!("{name} is not a page's to set")));
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(path).map_err(unanswered)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The same request with what this run wants of it.
fn carrying(mut request: Request<Full<Bytes>>, access: &Access) -> Result<Request<Full<Bytes>>, Refusal> {
    let headers: &mut HeaderMap = request.headers_mut();
    headers
        .insert(header::HOST, HeaderValue::try_from(access.listen_addr().authority()).map_err(unanswered)?);
    if let Some(token) = &access.token {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(unanswered)?;
        bearer.set_sensitive(true);
        if headers.insert(header::AUTHORIZATION, bearer).is_some() {
            let why = "Authorization carries the sidecar's token: send what is yours in another header";
            return Err(Refusal::Unanswered(why.to_owned()));
        }
    }
    Ok(request)
}

/// The beginning of a body, or all of a short one, as far as that comes at once; and the rest, if any.
async fn first(mut body: Body) -> Result<(Vec<u8>, Option<Body>), Refusal> {
    let mut start = Vec::new();
    let is_short = body.left().is_some_and(|left| left <= SHORT);
    let ended = time::timeout(ROUND_TRIP, async {
        while let Some(bytes) = body.next().await? {
            start.extend_from_slice(&bytes);
            if !is_short {
                return Ok(false);
            }
        }
        Ok(true)
    });
    let ended = ended.await.unwrap_or(Ok(false)).map_err(|error: WireError| unanswered(error))?;
    Ok((start, (!ended).then_some(body)))
}

/// Passes a body on in pieces, up to its end or until nobody wants it. One piece waits to be taken, the next one grows meanwhile;
/// when that is full, nothing is read until the first is taken.
async fn pass_on(mut body: Body, pieces: mpsc::Sender<Piece>) {
    let mut piece = Vec::new();
    let end = loop {
        tokio::select! {
            biased;
            more = body.next(), if piece.len() < CHUNK => match more {
                Ok(Some(bytes)) => piece.extend_from_slice(&bytes),
                Ok(None) => break None,
                Err(error) => break Some(error),
            },
            addr = pieces.reserve(), if !piece.is_empty() => match addr {
                Ok(addr) => addr.send(Ok(mem::take(&mut piece))),
                Err(_) => return,
            },
            () = pieces.closed() => return,
        }
    };
    let rest = (!piece.is_empty()).then_some(Ok(piece));
    for last in rest.into_iter().chain(end.map(Err)) {
        // Nobody may want it any more.
        let _ = pieces.send(last).await;
    }
}

pub(crate) fn unanswered(why: impl ToString) -> Refusal {
    Refusal::Unanswered(why.to_string())
}

#[cfg(test)]
mod tests;
