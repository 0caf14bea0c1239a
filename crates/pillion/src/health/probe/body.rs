//! Reads as much of a health response as the probe needs, in bounded time and memory.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::{
    Response,
    body::{Bytes, Incoming},
    header,
};
use pillion_protocol::{Token, health::HealthReport};
use tokio::time;

use crate::health::not_ready::ErrorAnswer;

/// The maximum size of a health response, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// How long the body may take after the head. The status has already decided; the body only adds version and instance.
const BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// How many bytes of the first line of an error body are kept.
const TEXT_LIMIT: usize = 200;
/// So many digits of the token in an error body, and the body is not shown.
const TOKEN_PART: usize = 8;

/// The health report in a 2xx response. Stops reading at the end of the JSON object: a server may stream, announce a wrong length,
/// or never close the connection.
pub(super) async fn report(response: Response<Incoming>) -> HealthReport {
    let mut end = ObjectEnd::default();
    HealthReport::read(&read(response.into_body(), |part| end.reached(part)).await)
}

/// Reads the whole body, so that the connection can serve the next request.
pub(super) async fn drain(response: Response<Incoming>) {
    let _ = time::timeout(BODY_TIMEOUT, Limited::new(response, BODY_LIMIT).collect()).await;
}

/// What an answer with an error status says. A body that repeats a part of the token is left out.
pub(super) async fn error_answer(response: Response<Incoming>, token: Option<&Token>) -> ErrorAnswer {
    let status = response.status();
    let location = response.headers().get(header::LOCATION).filter(|_| status.is_redirection());
    let location =
        location.map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(TEXT_LIMIT).collect());
    let mut size = 0;
    let body = read(response.into_body(), |part| {
        size += part.len();
        size > TEXT_LIMIT || part.contains(&b'\n')
    });
    let body = body.await;
    let shows = |token: &Token| {
        token
            .reveal()
            .as_bytes()
            .windows(TOKEN_PART)
            .any(|part| body.windows(TOKEN_PART).any(|seen| seen == part))
    };
    let text = (!token.is_some_and(shows)).then(|| first_line(&body)).flatten();
    ErrorAnswer { status, location, text }
}

/// Reads the body until `enough` returns true for one of its parts, until its end, or until a limit.
async fn read(mut body: Incoming, mut enough: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let parts = async {
        while bytes.len() < BODY_LIMIT
            && let Some(Ok(frame)) = body.frame().await
        {
            let part: &[u8] = frame.data_ref().map_or(&[], Bytes::as_ref);
            bytes.extend_from_slice(part);
            if enough(part) {
                break;
            }
        }
    };
    let _ = time::timeout(BODY_TIMEOUT, parts).await;
    bytes
}

fn first_line(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(TEXT_LIMIT).collect())
}

/// Finds the end of a JSON object without parsing it again for each part.
#[derive(Debug, Default)]
struct ObjectEnd {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl ObjectEnd {
    /// Whether the object ends in this part, or the body is not an object at all.
    fn reached(&mut self, part: &[u8]) -> bool {
        for byte in part {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' if self.depth > 0 => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' if self.depth > 0 || *byte == b'{' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                _ if self.depth > 0 && !matches!(byte, b'}' | b']') => {}
                byte if byte.is_ascii_whitespace() => {}
                _ => return true,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_object_is_found_in_any_parts() {
        for (body, complete) in [
            ("{}", true),
            (r#" {"a":{"b":[1,"}"]},"c":"\"}"}"#, true),
            ("ok", true),
            ("data: {}", true),
            ("", false),
            (r#"{"a":"}"#, false),
            (r#"{"a":{}"#, false),
        ] {
            let mut whole = ObjectEnd::default();
            assert_eq!(whole.reached(body.as_bytes()), complete, "{body}");
            let mut parts = ObjectEnd::default();
            assert_eq!(body.bytes().any(|byte| parts.reached(&[byte])), complete, "{body}, byte by byte");
        }
    }

    #[test]
    fn the_first_line_of_a_body_is_short() {
        assert_eq!(first_line(b"\r\n  loading model \nmore"), Some("loading model".to_owned()));
        assert_eq!(first_line(b" \n"), None);
        assert_eq!(first_line("é".repeat(1000).as_bytes()).unwrap().chars().count(), TEXT_LIMIT);
    }
}
