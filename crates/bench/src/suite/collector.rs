//! The server to which the measured pages report. Its port on 127.0.0.1 is fixed, because its URL is compiled into the pages.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
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

use super::{child::TIME_LIMIT, processes::LaunchedApp};

/// Below the range from which Linux chooses ports (ip(7)). apps/empty-shell/page/mark.js and apps/routes/page/page.js use it.
const PORT: u16 = 17391;

/// How often a wait for a page looks whether its app has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

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

    /// Waits for the next message of a page of this app. Fails as soon as the app has ended, or at the deadline, with the end of what the
    /// app wrote to stderr.
    pub(crate) fn next(&self, app: &mut LaunchedApp, deadline: Instant) -> Result<Message> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left.min(LOOK_INTERVAL)) {
                Ok(Message::Error { error }) => bail!("the page failed: {error}{}", app.stderr_end()),
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    bail!("the page did not report in time{}", app.stderr_end())
                }
                Err(RecvTimeoutError::Timeout) => app.check_alive()?,
                Err(RecvTimeoutError::Disconnected) => bail!("the collector ended"),
            }
        }
    }

    /// Waits for the steps of a page's start.
    pub(crate) fn steps(&self, app: &mut LaunchedApp) -> Result<Steps> {
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            if let Message::Steps { steps } = self.next(app, deadline)? {
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
    use std::process::Command;

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

    #[test]
    fn a_wait_for_a_page_ends_with_its_app() {
        let (_sender, messages) = mpsc::channel();
        let server = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let collector = Collector { messages, _server: server };
        let mut command = Command::new("sh");
        command.args(["-c", "echo the heap is damaged >&2; kill -ABRT $$"]);
        let mut app = LaunchedApp::start(command).unwrap();
        let deadline = Instant::now() + Duration::from_secs(600);
        let error = collector.next(&mut app, deadline).unwrap_err().to_string();
        assert!(error.contains("SIGABRT") && error.ends_with("the heap is damaged"), "{error}");
        assert!(Instant::now() < deadline);
    }
}
