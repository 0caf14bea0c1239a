//! The HTTP request by which a sidecar is asked to stop.
//!
//! The request and the expected proof are computed when the sidecar becomes ready, so that the guard, which knows no HMAC, can
//! send the request after the app's death. Both sides send the same bytes.

use std::{fmt, io, time::Duration};

use pillion_protocol::{
    Challenge, ListenAddr, Token,
    health::DEFAULT_PATH,
    token::{CHALLENGE_HEADER, PROOF_HEADER},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use crate::{spec::HttpStopRequest, transport::connector::Connector};

/// How long the exchange may take. After half of the grace period the sidecar is signalled anyway.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of both answers together, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// A prepared request. `Debug` shows no request, because it may carry the token.
#[derive(Clone)]
pub(crate) struct PreparedHttpStop {
    connector: Connector,
    /// For a private sidecar: a request with a challenge, and the proof that its answer must carry.
    challenge_request: Option<(String, String)>,
    request: String,
}

impl fmt::Debug for PreparedHttpStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedHttpStop").field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl PreparedHttpStop {
    /// Prepares the request for the server at `connector`. `None` if the system has no random bytes for the challenge.
    pub(crate) fn new(http: &HttpStopRequest, connector: &Connector, token: Option<&Token>) -> Option<Self> {
        let addr = connector.listen_addr();
        let host = addr.authority();
        let HttpStopRequest { method, path } = http;
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n");
        let mut challenge_request = None;
        if let Some(token) = token {
            let mut bytes = [0; 16];
            getrandom::fill(&mut bytes).ok()?;
            let challenge = Challenge::from_bytes(bytes);
            let challenge_text = format!(
                "GET {DEFAULT_PATH} HTTP/1.1\r\nHost: {host}\r\n{CHALLENGE_HEADER}: {challenge}\r\n\r\n"
            );
            challenge_request = Some((challenge_text, token.prove(addr, challenge)));
            request += &format!("Authorization: Bearer {}\r\n", token.reveal());
        }
        request += "Connection: close\r\n\r\n";
        Some(Self { connector: connector.clone(), challenge_request, request })
    }

    /// Sends the request. Ok means that the answer was 2xx.
    pub(crate) async fn send(&self) -> io::Result<()> {
        time::timeout(TIMEOUT, self.exchange()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn exchange(&self) -> io::Result<()> {
        let mut stream = self.connector.connect().await?;
        let mut answer = Vec::new();
        if let Some((challenge_text, proof)) = &self.challenge_request {
            stream.write_all(challenge_text.as_bytes()).await?;
            while !ends_head(&answer) {
                read_more(&mut stream, &mut answer).await?;
            }
            if !carries(&answer, proof) {
                return Err(io::Error::other("the server did not prove that it holds the token"));
            }
        }
        stream.write_all(self.request.as_bytes()).await?;
        loop {
            match status(&answer, self.challenge_request.is_some()) {
                Some(true) => return Ok(()),
                Some(false) => return Err(io::Error::other("its answer was not 2xx")),
                None => read_more(&mut stream, &mut answer).await?,
            }
        }
    }

    /// The request in the form that the guard reads: the port, the length of the challenge request, and the proof; then both
    /// requests. `None` for a socket, which the guard cannot reach.
    pub(crate) fn for_guard(&self) -> Option<Vec<u8>> {
        let ListenAddr::Tcp(port) = self.connector.listen_addr() else { return None };
        let (challenge_text, proof) = self
            .challenge_request
            .as_ref()
            .map_or(("", "-"), |(challenge_text, proof)| (challenge_text, proof));
        Some(
            format!("{port} {} {proof}\n{challenge_text}{}", challenge_text.len(), self.request).into_bytes(),
        )
    }
}

async fn read_more(stream: &mut (impl AsyncReadExt + Unpin), answer: &mut Vec<u8>) -> io::Result<()> {
    let limit = (ANSWER_LIMIT - answer.len()) as u64;
    match stream.take(limit).read_buf(answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn ends_head(answer: &[u8]) -> bool {
    answer.windows(4).any(|bytes| bytes == b"\r\n\r\n")
}

/// Whether the head of the answer carries the proof.
fn carries(answer: &[u8], proof: &str) -> bool {
    let expected = format!("{PROOF_HEADER}: {proof}");
    let head = answer.split(|byte| *byte == b'\n').take_while(|line| *line != b"\r");
    head.map(<[u8]>::trim_ascii).any(|line| line.eq_ignore_ascii_case(expected.as_bytes()))
}

/// Whether the last answer is 2xx; `None` while its status line is incomplete. `after_challenge`: the first answer
/// belongs to the challenge request.
fn status(answer: &[u8], after_challenge: bool) -> Option<bool> {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    let starts = answer.windows(STATUS_LINE.len()).enumerate();
    let mut starts = starts.filter(|(_, bytes)| *bytes == STATUS_LINE).map(|(at, _)| at);
    let start = starts.nth(usize::from(after_challenge))?;
    // "HTTP/1.1 204": the first digit of the status.
    Some(*answer.get(start + 9)? == b'2')
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use tokio::net::TcpListener;

    use super::*;

    /// Sends the stop request to a server that answers each request on its one connection by `answer`. Returns the result, and
    /// everything that the server read.
    async fn asked(
        token: Option<&Token>,
        answer: impl Fn(&str) -> String + Send + 'static,
    ) -> (io::Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
        let http = "POST /shutdown".parse().unwrap();
        let stop = PreparedHttpStop::new(&http, &Connector::Tcp(port), token).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut answered) = (Vec::new(), 0);
            while stream.read_buf(&mut read).await.unwrap() > 0 {
                let text = String::from_utf8(read.clone()).unwrap();
                let requests: Vec<_> = text.split_inclusive("\r\n\r\n").collect();
                for request in requests.iter().skip(answered).filter(|request| request.ends_with("\r\n\r\n"))
                {
                    stream.write_all(answer(request).as_bytes()).await.unwrap();
                    answered += 1;
                }
            }
            String::from_utf8(read).unwrap()
        });
        (stop.send().await, server.await.unwrap())
    }

    fn answer(status: &str, header: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{header}Content-Length: 2\r\n\r\nok")
    }

    #[tokio::test]
    async fn a_2xx_answer_is_success_and_any_other_is_not() {
        let (result, read) = asked(None, |_| answer("202 Accepted", "")).await;
        result.unwrap();
        assert!(read.starts_with("POST /shutdown HTTP/1.1\r\nHost: 127.0.0.1:"), "{read}");
        assert!(!read.contains("Authorization"), "{read}");
        let (result, _) = asked(None, |_| answer("404 Not Found", "")).await;
        result.unwrap_err();
    }

    #[tokio::test]
    async fn the_token_follows_the_proof_on_the_same_connection() {
        let token = Token::from_bytes(&[7; 32]);
        let key = token.clone();
        let (result, read) = asked(Some(&token), move |request| {
            let header = |name: &str| {
                let line =
                    request.lines().find(|line| line.to_lowercase().starts_with(name)).unwrap_or_default();
                line.split_once(": ").map_or("", |(_, value)| value).to_owned()
            };
            match Challenge::read(header("pillion-challenge").as_bytes()) {
                Some(challenge) => {
                    let port = header("host").rsplit_once(':').unwrap().1.parse().unwrap();
                    let proof = key.prove(ListenAddr::Tcp(port), challenge);
                    answer("200 OK", &format!("Pillion-Proof: {proof}\r\n"))
                }
                None => answer("200 OK", ""),
            }
        })
        .await;
        result.unwrap();
        assert!(read.contains(&format!("Authorization: Bearer {}", token.reveal())), "{read}");
    }

    #[tokio::test]
    async fn a_server_without_the_proof_does_not_get_the_token() {
        let token = Token::from_bytes(&[7; 32]);
        let (result, read) = asked(Some(&token), |_| answer("200 OK", "Pillion-Proof: 00\r\n")).await;
        result.unwrap_err();
        assert!(!read.contains(token.reveal()) && !read.contains("/shutdown"), "{read}");
    }
}
