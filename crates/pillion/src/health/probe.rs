//! Asking where a sidecar was announced to be whether it is ready.

use std::{io, time::Duration};

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

/// How long one attempt may take. A server that hangs is asked again, on a new connection.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The longest pause between attempts; the first ones follow faster.
const PAUSE: Duration = Duration::from_millis(250);
/// More health than this is nobody's.
const BODY_LIMIT: usize = 64 * 1024;

/// Why an attempt said that the sidecar is not ready, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("this program cannot ask ({0})")]
    Unable(String),
    #[error("nothing accepts connections there ({0})")]
    Unreachable(String),
    #[error("it gave no answer within {} s", ATTEMPT.as_secs())]
    Silent,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it gave no HTTP answer ({0})")]
    NotHttp(String),
    #[error("another server answered: its instance is not the one that was started")]
    Foreign,
    #[error(
        "another program answered{}, not a process of this sidecar; stop that program, or let the sidecar listen on \
         another port",
        .0.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default()
    )]
    OtherProgram(Option<String>),
    #[error("it gives no proof that it holds the token")]
    Unproved,
}

/// What is asked, and where.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) connector: Connector,
    pub(crate) path: String,
    /// The nonce that the process was given. A health that names another one is a stranger's; one that names none is
    /// accepted, because a sidecar need not speak more than the announcement.
    pub(crate) instance: Option<Instance>,
    /// The token that the process was given, if any: whoever answers has to prove that it holds it.
    pub(crate) token: Option<Token>,
    /// The processes that may answer where the answer itself proves nothing; `None` for a server that was attached to.
    pub(crate) run: Option<RunProcesses>,
}

impl Probe {
    /// Waits before attempt `number`, counted from 0, and makes it.
    pub(crate) async fn attempt(&self, number: u32) -> Result<HealthReport, NotReady> {
        if number > 0 {
            let pause = Duration::from_millis(2).saturating_mul(1 << number.min(10)).min(PAUSE);
            time::sleep(pause).await;
        }
        time::timeout(ATTEMPT, self.ask()).await.unwrap_or(Err(NotReady::Silent))
    }

    /// Asks on one connection; follows no redirect.
    pub(crate) async fn ask(&self) -> Result<HealthReport, NotReady> {
        let stream = self.connector.connect().await.map_err(|error| not_connected(&error))?;
        self.ask_on(stream).await
    }

    /// Asks whoever is at the other end.
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
        // The connection is driven here and dropped here: nothing of a probe outlives it.
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

    /// Checks that the port is served by the run, where the system tells: the answer itself proves nothing.
    async fn check_port_owner(&self) -> Result<(), NotReady> {
        let (Some(run), Some(port)) = (self.run, self.connector.listen_addr().port()) else { return Ok(()) };
        // It reads /proc, which blocks.
        match tokio::task::spawn_blocking(move || run.port_owner(port)).await {
            Ok(PortOwner::Other(owner)) => Err(NotReady::OtherProgram(owner)),
            Ok(PortOwner::Run | PortOwner::Unknown) | Err(_) => Ok(()),
        }
    }

    /// First has the server prove that it holds the token, where the protocol has it do so, whatever path is asked for health.
    /// The token itself follows on the same connection or not at all: at the other end of another one there may be somebody
    /// else.
    async fn ask_in_private(
        &self,
        sender: &mut SendRequest<Empty<Bytes>>,
        token: &Token,
    ) -> Result<HealthReport, NotReady> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| NotReady::Unable(error.to_string()))?;
        let challenge = Challenge::from_bytes(bytes);
        let asks = (HeaderName::from_static(CHALLENGE_HEADER), value(&challenge.to_string())?);
        let response = match self.get(sender, DEFAULT_PATH, [asks]).await {
            // It has understood the question, and does not know what it means.
            Err(NotReady::Status(status)) if status.is_client_error() => return Err(NotReady::Unproved),
            answer => answer?,
        };
        let proof = response.headers().get(PROOF_HEADER).map(HeaderValue::as_bytes);
        if !proof.is_some_and(|proof| token.is_proved_by(proof, self.connector.listen_addr(), challenge)) {
            return Err(NotReady::Unproved);
        }
        report(response).await;
        match self.ask_with(sender, token).await {
            // It is who it should be, and well. What else it says of itself is worth no second connection.
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

    /// One request, and the head of its answer, which is a 2xx.
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

/// What a healthy answer says. The status alone decides; a body that is too long or breaks off only tells nothing more.
async fn report(response: Response<Incoming>) -> HealthReport {
    let body = Limited::new(response, BODY_LIMIT).collect().await;
    body.map(|body| HealthReport::read(&body.to_bytes())).unwrap_or_default()
}

/// Says that no request follows on the connection.
fn close() -> (HeaderName, HeaderValue) {
    (header::CONNECTION, HeaderValue::from_static("close"))
}

fn value(text: &str) -> Result<HeaderValue, NotReady> {
    HeaderValue::from_str(text).map_err(|error| NotReady::NotHttp(error.to_string()))
}

fn not_http(error: hyper::Error) -> NotReady {
    NotReady::NotHttp(error.to_string())
}

/// What a failed connection says: only a refusal and its like are the other side's doing. Without descriptors, memory or
/// local ports it is ours.
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
