//! The server, with and without the admission layer.

#![expect(clippy::print_stdout, reason = "the announcement")]

use std::{
    env,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use end_to_end_tests::browser::SECRET;
use tokio::net::TcpListener;

/// The paths of the requests that reached a handler.
type Hits = Arc<Mutex<Vec<String>>>;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> pillion_server::Result {
    pillion_server::init_tracing();
    let router = Router::new()
        .route("/hits", get(async |State(hits): State<Hits>| Json(recorded(&hits).clone())))
        .fallback(record)
        .with_state(Hits::default());
    if env::args().nth(1).as_deref() == Some("--open") {
        open(router).await;
        return Ok(());
    }
    pillion_server::serve("Hit counter", router).await
}

async fn open(router: Router) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
    println!("BACKEND_PORT:{}", listener.local_addr().expect("a listener has an address").port());
    let router = router.route("/health", get(async || "ok")).layer(map_response(readable_by_all));
    axum::serve(listener, router).await.expect("the server does not end");
}

async fn readable_by_all(mut response: Response) -> Response {
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "*"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*, authorization"),
    ];
    for (name, value) in allowed {
        response.headers_mut().insert(name, value.parse().expect("it is a header value"));
    }
    response
}

fn recorded(hits: &Hits) -> std::sync::MutexGuard<'_, Vec<String>> {
    hits.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records a request. Preflights are recorded under a name of their own.
async fn record(State(hits): State<Hits>, request: Request) -> impl IntoResponse {
    let path = request.uri().path();
    let kind = if request.method() == "OPTIONS" { "preflight of " } else { "" };
    recorded(&hits).push(format!("{kind}{path}"));
    let (kind, text) = reveal(request.headers());
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text)
}

/// The secret in the form that the browser expects (<https://www.w3.org/TR/fetch-metadata/>).
fn reveal(headers: &HeaderMap) -> (&'static str, String) {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value("sec-fetch-dest") {
        "script" => ("text/javascript", format!("globalThis.learned = {SECRET:?}")),
        "style" => ("text/css", format!(":root {{ --learned: {SECRET} }}")),
        "image" => {
            ("image/svg+xml", r#"<svg xmlns="http://www.w3.org/2000/svg" width="417" height="1"/>"#.into())
        }
        _ if value("accept") == "text/event-stream" => ("text/event-stream", format!("data: {SECRET}\n\n")),
        _ => ("text/html", SECRET.to_owned()),
    }
}
