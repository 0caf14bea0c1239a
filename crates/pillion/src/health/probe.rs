//! The health probe: one HTTP request to the announced address, and for a private sidecar the proof of its token.

use std::io;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
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
    sys::{PortOwner, RunProcesses},
    transport::connector::Connector,
};

/// The maximum size of a health response, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Why an attempt found the sidecar not ready. Its text completes a sentence about the sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("this program cannot send the request ({0})")]
    Unable(String),
    #[error("nothing accepts connections there ({0})")]
    Unreachable(String),
    #[error("it gave no answer within {} s", HEALTH_ATTEMPT_TIMEOUT.as_secs())]
    Silent,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it gave no HTTP answer ({0})")]
    NotHttp(String),
    #[error("another server answered: its instance is not that of the started process")]
    Foreign,
    #[error(
        "another program answered{}, not a process of this sidecar; stop that program, or let the sidecar listen on \
         another port",
        .0.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default()
    )]
    OtherProgram(Option<String>),
    #[error("it gave no proof that it holds the token")]
    Unproved,
}

/// A health request, and the address to send it to.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) connector: Connector,
    pub(crate) path: String,
    /// The nonce that the process received. An answer with another nonce comes from another server. An answer without one is
    /// accepted, because a sidecar may speak nothing but the announcement.
    pub(crate) instance: Option<Instance>,
    /// The token that the process received, if it is private. The server must prove that it holds the token.
    pub(crate) token: Option<Token>,
    /// The processes of the run, to check the owner of the port when the answer proves nothing. `None` for an attached server.
    pub(crate) run: Option<RunProcesses>,
}

impl Probe {
    /// Waits for the delay before attempt `number`, counted from 0, then makes the attempt.
    pub(crate) async fn attempt(&self, number: u32) -> Result<HealthReport, NotReady> {
        if number > 0 {
            let doubled = HEALTH_RETRY_DELAY.saturating_mul(1 << (number - 1).min(10));
            time::sleep(doubled.min(HEALTH_MAX_RETRY_DELAY)).await;
        }
        time::timeout(HEALTH_ATTEMPT_TIMEOUT, self.ask()).await.unwrap_or(Err(NotReady::Silent))
    }

    /// Sends the request on a new connection. Follows no redirect.
    pub(crate) async fn ask(&self) -> Result<HealthReport, NotReady> {
        let stream = self.connector.connect().await.map_err(|error| not_connected(&error))?;
        self.ask_on(stream).await
    }

    /// Sends the request on this connection.
    pub(crate) async fn ask_on(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<HealthReport, NotReady> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(not_http)?;
        let answer = async {
            match &self.token {
                Some(token) => self.ask_in_private(&mut sender, token).await,
                None => Ok(report(self.get(&mut sender, &self.path, [close()]).await?).await),
            }
        };
        // The connection is driven here and dropped here, so nothing of it outlives the probe.
        tokio::pin!(answer);
        let answer = tokio::select! {
            report = &mut answer => report,
            _ = connection => answer.await,
        };
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
        match tokio::task::spawn_blocking(move || run.port_owner(port)).await {
            Ok(PortOwner::Other(owner)) => Err(NotReady::OtherProgram(owner)),
            Ok(PortOwner::Run | PortOwner::Unknown) | Err(_) => Ok(()),
        }
    }

    /// Challenges the server to prove that it holds the token, always at the path that the protocol names. Sends the token
    /// afterwards on the same connection or not at all: another connection could end at another server.
    async fn ask_in_private(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        token: &Token,
    ) -> Result<HealthReport, NotReady> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| NotReady::Unable(error.to_string()))?;
        let challenge = Challenge::from_bytes(bytes);
        let header = (HeaderName::from_static(CHALLENGE_HEADER), value(&challenge.to_string())?);
        let response = match self.get(sender, DEFAULT_PATH, [header]).await {
            // The server rejects the challenge as a bad request: it does not keep rule 5.
            Err(NotReady::Status(status)) if status.is_client_error() => return Err(NotReady::Unproved),
            answer => answer?,
        };
        let proof = response.headers().get(PROOF_HEADER).map(HeaderValue::as_bytes);
        if !proof.is_some_and(|proof| token.is_proved_by(proof, self.connector.listen_addr(), challenge)) {
            return Err(NotReady::Unproved);
        }
        report(response).await;
        match self.ask_with(sender, token).await {
            // The server has proved itself and is healthy. Its version is not worth a second connection.
            Err(error) if self.path == DEFAULT_PATH && !matches!(error, NotReady::Status(_)) => {
                Ok(HealthReport::default())
            }
            answer => answer,
        }
    }

    async fn ask_with(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        token: &Token,
    ) -> Result<HealthReport, NotReady> {
        sender.ready().await.map_err(not_http)?;
        let mut bearer = value(&format!("Bearer {}", token.reveal()))?;
        bearer.set_sensitive(true);
        let response = self.get(sender, &self.path, [close(), (header::AUTHORIZATION, bearer)]).await?;
        Ok(report(response).await)
    }

    /// Sends one request. Returns the response if its status is 2xx.
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
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(NotReady::Status(status)) }
    }
}

/// The health report in a 2xx response. The status alone decides; a body that is too long or incomplete yields an empty report.
async fn report(response: Response<Incoming>) -> HealthReport {
    let body = Limited::new(response, BODY_LIMIT).collect().await;
    body.map(|body| HealthReport::read(&body.to_bytes())).unwrap_or_default()
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

/// Tells a server that cannot be reached from a lack of descriptors, memory or local ports in this process.
fn not_connected(error: &io::Error) -> NotReady {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut};
    match error.kind() {
        ConnectionRefused | ConnectionReset | ConnectionAborted | TimedOut => {
            NotReady::Unreachable(error.to_string())
        }
        _ => NotReady::Unable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
