//! Asking an announced port whether it is ready.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use pillion_protocol::{Instance, health::HealthReport};
use tokio::{net::TcpStream, time};

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
    #[error("nothing accepts connections on that port ({0})")]
    Unreachable(String),
    #[error("it gave no answer within {} s", ATTEMPT.as_secs())]
    Silent,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it gave no HTTP answer ({0})")]
    NotHttp(String),
    #[error("another server answered: its instance is not the one that was started")]
    Foreign,
}

/// What is asked, and where.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    pub(crate) port: NonZeroU16,
    pub(crate) path: String,
    /// The nonce that the process was given. A health that names another one is a stranger's; one that names none is
    /// accepted, because a sidecar need not speak more than the announcement.
    pub(crate) instance: Option<Instance>,
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

    /// One request on one connection, straight to the loopback address: no resolver, no proxy, no redirect.
    pub(crate) async fn ask(&self) -> Result<HealthReport, NotReady> {
        let not_http = |error: hyper::Error| NotReady::NotHttp(error.to_string());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.get()));
        let stream = TcpStream::connect(address).await.map_err(|error| not_connected(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(not_http)?;
        let request = Request::get(&self.path)
            .header(header::HOST, address.to_string())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| NotReady::NotHttp(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(not_http)?;
            let status = response.status();
            if !status.is_success() {
                return Err(NotReady::Status(status));
            }
            // The status alone decides; a body that is too long or breaks off only tells nothing more.
            let body = Limited::new(response, BODY_LIMIT).collect().await;
            Ok(body.map(|body| HealthReport::read(&body.to_bytes())).unwrap_or_default())
        };
        // The connection is driven here and dropped here: nothing of a probe outlives it.
        tokio::pin!(answer);
        let report = tokio::select! {
            report = &mut answer => report?,
            _ = connection => answer.await?,
        };
        match (&self.instance, &report.instance) {
            (Some(ours), Some(theirs)) if ours.to_string() != *theirs => Err(NotReady::Foreign),
            _ => Ok(report),
        }
    }
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
