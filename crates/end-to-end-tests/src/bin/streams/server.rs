//! The server, and its record of each answer.

use std::{
    collections::HashMap,
    convert::Infallible,
    future, process,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use futures_util::stream;
use http_body_util::BodyExt as _;
use pillion_server::{Limits, Sidecar};
use tokio::sync::{broadcast, watch};

use crate::web_socket;

/// The length of the pieces that a body consists of.
const PIECE: usize = 64 * 1024;

/// The period of the bytes. It is not a power of two, so that a misplaced piece has wrong bytes.
const PERIOD: usize = 251;

/// The progress of an answer.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    made: usize,
    dropped: bool,
}

#[derive(Clone)]
struct Streams {
    /// All pieces are slices of this block, so that they cost nothing.
    block: Bytes,
    answers: watch::Sender<HashMap<String, Progress>>,
    events: broadcast::Sender<String>,
    /// The names of the requests that were executed, in this order.
    executed: Arc<Mutex<Vec<String>>>,
}

/// An answer in progress. If it is not [complete](Self::is_complete) on drop, the client has dropped it.
struct Answer {
    name: String,
    streams: Streams,
    is_complete: bool,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> pillion_server::Result {
    pillion_server::init_tracing();
    let block = (0..=250).cycle().take(PERIOD + PIECE).collect();
    let streams = Streams {
        block,
        answers: watch::Sender::default(),
        events: broadcast::Sender::new(16),
        executed: Arc::default(),
    };
    let router = Router::new()
        .route("/pid", get(async || process::id().to_string()))
        .route("/echo", any(echo))
        .route("/sink", post(sink))
        .route("/bytes/{count}/{name}", get(bytes))
        .route("/events/{name}", get(events))
        .route("/emit/{id}", post(emit))
        .route("/socket/{name}", get(socket))
        .route("/refuse/{name}", post(refuse))
        .route("/swallow/{name}", post(swallow))
        .route("/silence/{name}", get(silence))
        .route("/execute/{name}", post(execute))
        .route("/executed", get(executed))
        .route("/begun/{name}", get(begun))
        .route("/made/{name}", get(made))
        .route("/dropped/{name}", get(dropped))
        .with_state(streams);
    // The benchmark opens 500 streams.
    let limits = Limits::default().connections(1_000);
    Sidecar::new("Streams").limits(limits).serve(router).await
}

async fn echo(request: Request) -> impl IntoResponse {
    let method = HeaderValue::try_from(request.method().as_str()).expect("a method is a header value");
    ([("echoed-method", method)], request.into_body())
}

async fn sink(mut body: Body) -> String {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.into_data().map_or(0, |data| data.len());
    }
    length.to_string()
}

async fn bytes(Path((count, name)): Path<(usize, String)>, State(streams): State<Streams>) -> Response {
    let body = stream::unfold((streams.begin(name), 0), move |(mut answering, from)| {
        future::ready((from < count).then(|| {
            let (start, length) = (from % PERIOD, PIECE.min(count - from));
            let piece = answering.streams.block.slice(start..start + length);
            answering.note(|progress| progress.made += length);
            answering.is_complete = from + length == count;
            (Ok::<_, Infallible>(piece), (answering, from + length))
        }))
    });
    ([(header::CONTENT_LENGTH, count)], Body::from_stream(body)).into_response()
}

async fn events(
    Path(name): Path<String>,
    headers: HeaderMap,
    State(streams): State<Streams>,
) -> impl IntoResponse {
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let open = format!("event: open\ndata: {seen}\n\n");
    let following = (streams.events.subscribe(), streams.begin(name));
    let body = stream::unfold((Some(open), following), async |(open, (mut next, answering))| {
        let event = match open {
            Some(open) => open,
            None => next.recv().await.ok()?,
        };
        Some((Ok::<_, Infallible>(event), (None, (next, answering))))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body))
}

async fn emit(Path(id): Path<String>, State(streams): State<Streams>, data: String) -> String {
    streams.events.send(format!("id: {id}\ndata: {data}\n\n")).unwrap_or(0).to_string()
}

async fn socket(Path(name): Path<String>, State(streams): State<Streams>, request: Request) -> Response {
    let answering = streams.begin(name);
    web_socket::accept(request, move |socket| async move {
        let _answering = answering;
        web_socket::echo(socket).await;
    })
}

async fn refuse(
    Path(name): Path<String>,
    State(streams): State<Streams>,
    mut body: Body,
) -> (StatusCode, &'static str) {
    let mut events = streams.events.subscribe();
    let _first = body.frame().await;
    let mut answering = streams.begin(name);
    let _ = events.recv().await;
    answering.is_complete = true;
    (StatusCode::PAYLOAD_TOO_LARGE, "too large")
}

async fn swallow(Path(name): Path<String>, State(streams): State<Streams>, mut body: Body) {
    let _first = body.frame().await;
    let mut answering = streams.begin(name);
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return;
        }
    }
    answering.is_complete = true;
}

async fn silence(Path(name): Path<String>, State(streams): State<Streams>) {
    let _answering = streams.begin(name);
    future::pending::<()>().await;
}

async fn execute(Path(name): Path<String>, State(streams): State<Streams>) {
    streams.executed.lock().expect("no holder panics").push(name);
}

async fn executed(State(streams): State<Streams>) -> Json<Vec<String>> {
    Json(streams.executed.lock().expect("no holder panics").clone())
}

async fn begun(Path(name): Path<String>, State(streams): State<Streams>) {
    streams.progress(&name, |_| true).await;
}

async fn made(Path(name): Path<String>, State(streams): State<Streams>) -> String {
    let made = streams.answers.borrow().get(&name).map_or(0, |answer| answer.made);
    made.to_string()
}

async fn dropped(Path(name): Path<String>, State(streams): State<Streams>) -> String {
    streams.progress(&name, |answer| answer.dropped).await.made.to_string()
}

impl Streams {
    fn begin(&self, name: String) -> Answer {
        let answering = Answer { name, streams: self.clone(), is_complete: false };
        answering.note(|progress| *progress = Progress::default());
        answering
    }

    /// Waits until the answer of this name exists and fulfils the condition.
    async fn progress(&self, name: &str, is_due: impl Fn(&Progress) -> bool) -> Progress {
        let mut answers = self.answers.subscribe();
        let answers = answers.wait_for(|answers| answers.get(name).is_some_and(&is_due)).await;
        answers.expect("the sender is alive")[name]
    }
}

impl Answer {
    fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.streams.answers.send_modify(|answers| change(answers.entry(self.name.clone()).or_default()));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_complete {
            self.note(|progress| progress.dropped = true);
        }
    }
}
