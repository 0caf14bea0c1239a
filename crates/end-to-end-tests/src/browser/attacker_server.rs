//! A web server that is not the sidecar: the attacker's, for the most part.

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

/// The page that can attack. Every sender shows this one.
pub const PAGE: &str =
    concat!("<!doctype html><title>page</title><body><script>", include_str!("attacks.js"), "</script>");

/// The same page in a frame whose origin is nobody's: its requests say `Origin: null`.
const SANDBOX: &str = r#"<!doctype html><iframe sandbox="allow-scripts allow-forms" src="/"></iframe>"#;

/// Fetches what it is told, and answers what it could read.
const WORKER: &str = "
    onactivate = (event) => event.waitUntil(clients.claim());
    onmessage = ({ data, ports: [port] }) =>
        fetch(data).then((response) => response.text()).then(
            (text) => port.postMessage(text),
            () => fetch(data, { mode: 'no-cors' }).finally(() => port.postMessage(null)),
        );
";

#[derive(Deserialize)]
struct Detour {
    status: u16,
    to: String,
}

/// The server, for as long as this lives.
#[derive(Debug)]
pub struct AttackerServer {
    port: u16,
    task: JoinHandle<()>,
}

impl AttackerServer {
    /// Serves at `address`, of any port if that is 0.
    ///
    /// # Errors
    /// Somebody else has the address.
    pub async fn serve(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        // Nothing is kept open, so that the next request for the name asks where it is now.
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

async fn redirect(Query(detour): Query<Detour>) -> (StatusCode, [(header::HeaderName, String); 2]) {
    let status = StatusCode::from_u16(detour.status).unwrap_or(StatusCode::FOUND);
    // The page's own server lets the page follow.
    (status, [(header::LOCATION, detour.to), (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned())])
}
