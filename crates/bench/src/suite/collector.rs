//! The server to which the measured pages report. Its port on 127.0.0.1 is fixed, because its URL is compiled into the pages.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use axum::{
    Json, Router,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, runtime::Runtime};

use super::child::TIME_LIMIT;

/// Below the range from which Linux chooses ports (ip(7)). apps/empty-shell/page/mark.js and apps/routes/page/page.js use it.
const PORT: u16 = 17391;

/// The URL to which a page posts.
pub(crate) fn address(path: &str) -> String {
    format!("http://127.0.0.1:{PORT}/{path}")
}

/// Times in milliseconds since the epoch, by the name of the step.
pub(crate) type Steps = BTreeMap<String, f64>;

/// A report of a page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Message {
    /// When the page reached each step of its start, in milliseconds since the epoch.
    Steps { steps: Steps },
    /// Milliseconds for each request, one value a round, by kind of request and by route.
    Routes { took: BTreeMap<String, BTreeMap<String, Vec<f64>>> },
    /// The page could not measure.
    Error { error: String },
}

/// The measurements for the page.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(crate) enum Plan {
    /// A comparison of all routes.
    Routes { rounds: usize, times: usize },
    /// The cost by the size of a body in bytes.
    Curves { rounds: usize, downloads: &'static [u64], uploads: &'static [u64] },
    /// The cost by the number of open event streams.
    Streams { rounds: usize, streams: &'static [u64] },
    /// The start of each of several windows, with a request to the sidecar or without one.
    Windows { asks: bool },
}

/// The running server. Drop ends it.
#[derive(Debug)]
pub(crate) struct Collector {
    messages: Receiver<Message>,
    _server: Runtime,
}

impl Collector {
    /// Starts the server. Without a plan, pages report only their steps.
    pub(crate) fn start(plan: Option<Plan>) -> Result<Self> {
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = server
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)))
            .with_context(|| format!("port {PORT} of 127.0.0.1, which the pages report to, is taken"))?;
        let (sender, messages) = mpsc::channel();
        server.spawn(async move { axum::serve(listener, router(sender, plan)).await });
        Ok(Self { messages, _server: server })
    }

    /// Waits for the next message.
    pub(crate) fn next(&self, deadline: Instant) -> Result<Message> {
        match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Message::Error { error }) => bail!("the page failed: {error}"),
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => bail!("the page did not report within {TIME_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the collector ended"),
        }
    }

    /// Waits for the steps of a page's start.
    pub(crate) fn steps(&self) -> Result<Steps> {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            if let Message::Steps { steps } = self.next(deadline)? {
                return Ok(steps);
            }
        }
    }
}

fn router(messages: Sender<Message>, plan: Option<Plan>) -> Router {
    // Pages of any origin may read the plan. Their posts are simple requests, without a preflight.
    const ANYONE: [(HeaderName, &str); 1] = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
    let plan = plan.map(Json);
    let receive = move |body: String| {
        let message = serde_json::from_str(&body)
            .unwrap_or_else(|error| Message::Error { error: format!("{error}: {body}") });
        let _ = messages.send(message);
        async { (ANYONE, StatusCode::NO_CONTENT) }
    };
    let answer = async move || match plan {
        Some(plan) => (ANYONE, plan).into_response(),
        None => (ANYONE, StatusCode::NO_CONTENT).into_response(),
    };
    Router::new()
        .route("/plan", get(answer))
        .route("/mark", post(receive.clone()))
        .route("/routes", post(receive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_distinguished_by_their_fields() {
        let read = |text| serde_json::from_str::<Message>(text).unwrap();
        assert_eq!(
            read(r#"{"steps":{"mounted":1.5}}"#),
            Message::Steps { steps: [("mounted".to_owned(), 1.5)].into() }
        );
        let took = [("get".to_owned(), [("direct".to_owned(), vec![1.0])].into())].into();
        assert_eq!(read(r#"{"took":{"get":{"direct":[1.0]}}}"#), Message::Routes { took });
        assert_eq!(read(r#"{"error":"x"}"#), Message::Error { error: "x".to_owned() });
    }
}
