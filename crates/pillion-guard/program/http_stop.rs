//! The HTTP request by which a guard asks a sidecar to stop. The supervisor has prepared its bytes.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// An HTTP request that asks the sidecar to stop. The supervisor has prepared its bytes. `Debug` shows none, because they may carry the
/// token.
pub struct HttpStopMessage {
    port: u16,
    /// A request with a challenge, and the header line that its answer must contain.
    challenge_request: Option<(Vec<u8>, String)>,
    request: Vec<u8>,
}

impl fmt::Debug for HttpStopMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpStopMessage").field("port", &self.port).finish_non_exhaustive()
    }
}

/// How long each step of the exchange may take. The guard does nothing else meanwhile.
const STEP_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum size of both answers together, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

impl HttpStopMessage {
    /// Parses `PORT LENGTH PROOF`, a newline, a challenge request of that length, and the stop request. `PROOF` is `-` without a
    /// challenge request.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let newline = message.iter().position(|byte| *byte == b'\n')?;
        let mut head = str::from_utf8(&message[..newline]).ok()?.split(' ');
        let port = head.next()?.parse().ok()?;
        let (challenge_request, request) =
            message[newline + 1..].split_at_checked(head.next()?.parse().ok()?)?;
        let proof = head.next()?;
        let challenge_request =
            (proof != "-").then(|| (challenge_request.to_vec(), format!("pillion-proof: {proof}")));
        Some(Self { port, challenge_request, request: request.to_vec() })
    }

    /// Sends the request. A server that does not answer in time may be stopping already.
    ///
    /// # Errors
    /// The server cannot be reached, does not prove itself, or refuses.
    pub fn send(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, self.port).into(), STEP_TIMEOUT)?;
        stream.set_read_timeout(Some(STEP_TIMEOUT))?;
        stream.set_write_timeout(Some(STEP_TIMEOUT))?;
        let mut answer = Vec::new();
        if let Some((challenge_request, proof)) = &self.challenge_request {
            stream.write_all(challenge_request)?;
            while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                read_more(&mut stream, &mut answer)?;
            }
            let mut head = answer.split(|byte| *byte == b'\n').take_while(|line| *line != b"\r");
            if !head.any(|line| line.trim_ascii().eq_ignore_ascii_case(proof.as_bytes())) {
                return Err(io::Error::other("no proof"));
            }
        }
        stream.write_all(&self.request)?;
        loop {
            match status(&answer, self.challenge_request.is_some()) {
                Some(b'2') => return Ok(()),
                Some(_) => return Err(io::Error::other("refused")),
                None => match read_more(&mut stream, &mut answer) {
                    // The kinds of a time-out on Unix and on Windows (`TcpStream::set_read_timeout`).
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                    {
                        return Ok(());
                    }
                    result => result?,
                },
            }
        }
    }
}

fn read_more(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut bytes = [0; 4096];
    match stream.read(&mut bytes)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if answer.len() > ANSWER_LIMIT => Err(io::Error::other("too long")),
        count => {
            answer.extend(&bytes[..count]);
            Ok(())
        }
    }
}

/// The first digit of the status of the last answer. `after_challenge`: the first answer belongs to the challenge request.
fn status(answer: &[u8], after_challenge: bool) -> Option<u8> {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    let lines = answer.windows(STATUS_LINE.len()).enumerate().filter(|(_, bytes)| *bytes == STATUS_LINE);
    let start = lines.map(|(at, _)| at).nth(usize::from(after_challenge))?;
    answer.get(start + "HTTP/1.1 ".len()).copied()
}
