//! The probe of a server: an HTTP request, for a private sidecar with the proof of its token, or a TCP connection alone.

mod body;
mod budget;
mod explanation;

use http_body_util::Empty;
use std::time::Duration;

use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use pillion_protocol::{
    Challenge, Instance, Token,
    defaults::{HEALTH_ATTEMPT_TIMEOUT, HEALTH_MAX_RETRY_DELAY, HEALTH_RETRY_DELAY},
    health::{DEFAULT_PATH, HealthReport},
    token::{CHALLENGE_HEADER, PROOF_HEADER},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time,
};

use crate::{
    health::{not_ready::NotReady, open_probes::OpenProbes, probe_span::in_span},
    sys::{PortOwner, RunProcesses, on_thread},
    transport::connector::Connector,
};
use budget::Budget;

/// How many headers an answer may have. Room for as many is taken for each answer, and freed after it.
const MAX_HEADERS: usize = 1000;

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// The health of the sidecar at this path.
    Health { path: String },
    /// Whether this path answers with the status, or with any 2xx.
    Http { path: String, status: Option<u16> },
    /// Whether a connection is accepted.
    Tcp,
}

/// A probe, and the address to send it to.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// The name of the sidecar.
    pub(crate) sidecar: String,
    pub(crate) connector: Connector,
    pub(crate) kind: ProbeKind,
    /// The instance that the process received. An answer with another instance comes from another server. An answer without one is
    /// accepted, because a sidecar may speak nothing but the announcement.
    pub(crate) instance: Option<Instance>,
    /// The token that the process received, if it is private. The server must prove that it holds the token.
    pub(crate) token: Option<Token>,
    /// The processes of the run, to check the owner of the port when the answer proves nothing. `None` for an attached server.
    pub(crate) run: Option<RunProcesses>,
    /// Whether the fields of the answer decide, and not its status alone.
    pub(crate) needs_report: bool,
}

impl Probe {
    /// Waits for the delay before attempt `number`, counted from 0, then makes the attempt.
    pub(crate) async fn attempt(&self, number: u32) -> Result<HealthReport, NotReady> {
        pause_before(number).await;
        let limited = async {
            time::timeout(HEALTH_ATTEMPT_TIMEOUT, self.ask()).await.unwrap_or(Err(NotReady::Silent))
        };
        let answer = in_span(&self.sidecar, limited).await;
        match answer {
            Err(refused @ NotReady::Unreachable(_)) => {
                Err(explanation::of_refusal(&self.connector, refused).await)
            }
            answer => answer,
        }
    }

    /// Sends the request on a new connection. Follows no redirect.
    pub(crate) async fn ask(&self) -> Result<HealthReport, NotReady> {
        self.ask_noted(&OpenProbes::default()).await
    }

    /// Sends the request on a new connection, and notes its local port until the answer has come.
    pub(super) async fn ask_noted(&self, open: &OpenProbes) -> Result<HealthReport, NotReady> {
        let connected = self.connector.connect_from_port().await;
        let (stream, port) = connected.map_err(|error| NotReady::not_connected(&error))?;
        let _noted = port.map(|port| open.add(port));
        match self.kind {
            ProbeKind::Health { .. } | ProbeKind::Http { .. } => self.ask_on(stream).await,
            ProbeKind::Tcp => self.check_port_owner().await.map(|()| HealthReport::default()),
        }
    }

    /// Sends the request on this connection.
    pub(crate) async fn ask_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<HealthReport, NotReady> {
        let (stream, beginning) = Budget::new(stream);
        // As lenient as the protocol allows: the status line alone decides.
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(budget::LIMIT)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(not_http)?;
        let answer = async {
            match (&self.kind, &self.token) {
                (ProbeKind::Health { path }, Some(token)) => {
                    self.ask_in_private(&mut sender, path, token).await
                }
                (ProbeKind::Health { path }, None) => {
                    Ok(body::report(self.get(&mut sender, path, [close()]).await?).await)
                }
                // Its body is not a health report, whatever it contains. A token is for the health path alone.
                (ProbeKind::Http { path, .. }, _) => {
                    self.get(&mut sender, path, [close()]).await.map(|_| HealthReport::default())
                }
                (ProbeKind::Tcp, _) => Ok(HealthReport::default()),
            }
        };
        // The connection is driven here and dropped here, so nothing of it outlives the probe.
        tokio::pin!(answer);
        let answer = tokio::select! {
            report = &mut answer => report,
            _ = connection => answer.await,
        };
        if let Err(NotReady::NotHttp(error)) = answer {
            // A private server is told nothing but what the protocol names.
            let connector = self.token.is_none().then_some(&self.connector);
            return Err(explanation::of_bad_answer(connector, beginning.bytes(), error).await);
        }
        match (&self.instance, &answer) {
            (Some(ours), Ok(HealthReport { instance: Some(theirs), .. })) => {
                if ours.to_string() == *theirs {
                    answer
                } else {
                    Err(NotReady::Foreign)
                }
            }
            (_, Ok(_) | Err(NotReady::Status(_))) if self.token.is_none() => {
                self.check_port_owner().await.and(answer)
            }
            _ => answer,
        }
    }

    /// Checks that a process of the run owns the port, if the system tells. The answer itself proves nothing.
    async fn check_port_owner(&self) -> Result<(), NotReady> {
        let (Some(run), Some(port)) = (self.run, self.connector.listen_addr().port()) else { return Ok(()) };
        // Reading /proc blocks.
        match on_thread(move || run.port_owner(port)).await {
            Some(PortOwner::Other(owner)) => Err(NotReady::OtherProgram(owner)),
            Some(PortOwner::Run | PortOwner::Unknown) | None => Ok(()),
        }
    }

    /// Challenges the server to prove that it holds the token, always at the path that the protocol names. Sends the token
    /// afterwards on the same connection or not at all: another connection could end at another server.
    async fn ask_in_private(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
        token: &Token,
    ) -> Result<HealthReport, NotReady> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| NotReady::Unable(error.to_string()))?;
        let challenge = Challenge::from_bytes(bytes);
        let header = (HeaderName::from_static(CHALLENGE_HEADER), value(&challenge.to_string())?);
        let response = match self.get(sender, DEFAULT_PATH, [header]).await {
            // The server rejects the challenge as a bad request: it does not keep rule 5.
            Err(NotReady::Status(answer)) if answer.status.is_client_error() => {
                return Err(NotReady::Unproved);
            }
            answer => answer?,
        };
        let proof = response.headers().get(PROOF_HEADER).map(HeaderValue::as_bytes);
        if !proof.is_some_and(|proof| token.is_proved_by(proof, self.connector.listen_addr(), challenge)) {
            return Err(NotReady::Unproved);
        }
        body::drain(response).await;
        match self.ask_with(sender, path, token).await {
            // The server has proved itself and is healthy. Its version is not worth a second connection.
            Err(error)
                if path == DEFAULT_PATH && !matches!(error, NotReady::Status(_)) && !self.needs_report =>
            {
                Ok(HealthReport::default())
            }
            answer => answer,
        }
    }

    async fn ask_with(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
        token: &Token,
    ) -> Result<HealthReport, NotReady> {
        sender.ready().await.map_err(not_http)?;
        let mut bearer = value(&format!("Bearer {}", token.reveal()))?;
        bearer.set_sensitive(true);
        let response = self.get(sender, path, [close(), (header::AUTHORIZATION, bearer)]).await?;
        Ok(body::report(response).await)
    }

    fn expects(&self, status: StatusCode) -> bool {
        match self.kind {
            ProbeKind::Http { status: Some(expected), .. } => status.as_u16() == expected,
            ProbeKind::Http { status: None, .. } | ProbeKind::Health { .. } | ProbeKind::Tcp => {
                status.is_success()
            }
        }
    }

    /// Sends one request. Returns the response if its status is the expected one.
    async fn get(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        path: &str,
        with: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Result<Response<Incoming>, NotReady> {
        let mut request = Request::get(path)
            .header(header::HOST, self.connector.listen_addr().authority())
            .body(Empty::new())
            .map_err(|error| NotReady::NotHttp(error.to_string()))?;
        request.headers_mut().extend(with);
        let response = sender.send_request(request).await.map_err(not_http)?;
        if self.expects(response.status()) {
            return Ok(response);
        }
        Err(NotReady::Status(body::error_answer(response, self.token.as_ref()).await))
    }
}

/// The delay before attempt `number`, counted from 0.
pub(crate) fn retry_delay(number: u32) -> Duration {
    let Some(doublings) = number.checked_sub(1) else { return Duration::ZERO };
    HEALTH_RETRY_DELAY.saturating_mul(1 << doublings.min(10)).min(HEALTH_MAX_RETRY_DELAY)
}

/// Waits for the delay before attempt `number`. The first attempt begins at once: tokio rounds each sleep up to a millisecond, also one of
/// length zero.
pub(crate) async fn pause_before(number: u32) {
    let delay = retry_delay(number);
    if !delay.is_zero() {
        time::sleep(delay).await;
    }
}

/// The header that announces the last request on the connection.
fn close() -> (HeaderName, HeaderValue) {
    (header::CONNECTION, HeaderValue::from_static("close"))
}

fn value(text: &str) -> Result<HeaderValue, NotReady> {
    HeaderValue::from_str(text).map_err(|error| NotReady::NotHttp(error.to_string()))
}

fn not_http(error: hyper::Error) -> NotReady {
    NotReady::NotHttp(error.to_string())
}

#[cfg(test)]
mod tests;
