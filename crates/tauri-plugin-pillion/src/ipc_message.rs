//! Encodes head and body of a proxied request, or of its response, in one IPC message: the length of the head as four bytes,
//! big-endian; the head in JSON; the bytes of the body. `guest-js/ipc-message.ts` is the other side.

use std::ops::Not;

use hyper::{
    HeaderMap, StatusCode,
    ext::ReasonPhrase,
    header::{HeaderName, HeaderValue},
    http::response::Parts,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A request without its body.
#[derive(Debug, Deserialize)]
pub(crate) struct RequestHead {
    /// The page's own number for this request, unique among its requests under way.
    pub(crate) id: u32,
    pub(crate) sidecar: String,
    pub(crate) method: String,
    /// In origin form (RFC 9112, section 3.2.1): a path and an optional query.
    pub(crate) path: String,
    pub(crate) headers: Headers,
    /// Whether this opens a WebSocket.
    #[serde(default, rename = "webSocket")]
    pub(crate) web_socket: bool,
    /// Whether the page sends the body in pieces, which it has begun to do.
    #[serde(default)]
    pub(crate) upload: bool,
    /// Whether the first poll of the request only registers it. The app sets this.
    #[serde(skip)]
    pub(crate) registers_first: bool,
}

/// What the bytes after this head belong to: messages to a WebSocket, a piece to the body of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct WriteHead {
    pub(crate) id: u32,
    #[serde(flatten)]
    pub(crate) upload: UploadHead,
}

/// A piece of a body.
#[derive(Debug, Deserialize)]
pub(crate) struct UploadHead {
    /// Set once, before the request.
    pub(crate) begin: Option<BeginUpload>,
    /// Whether the body ends with this piece.
    #[serde(default)]
    pub(crate) end: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct BeginUpload {
    /// That of the request.
    pub(crate) sidecar: String,
    /// In bytes, if the page knows it.
    pub(crate) length: Option<u64>,
}

/// A response without its body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResponseHead {
    status: u16,
    /// The reason phrase, whose characters are those that `new Response` accepts.
    status_text: String,
    headers: Headers,
    /// Whether this message holds the whole body, so that the page need not read more.
    ended: bool,
    /// Whether the next run rejected the token of the last one, so that the request had no effect. There is no response for the page.
    #[serde(skip_serializing_if = "Not::not")]
    superseded: bool,
}

impl ResponseHead {
    /// The head of a response that hyper has read.
    pub(crate) fn of(response: &Parts, ended: bool) -> Self {
        let head = Self::new(response.status, &response.headers, ended);
        match response.extensions.get::<ReasonPhrase>() {
            Some(reason) => Self { status_text: status_text(reason), ..head },
            // The usual one.
            None => head,
        }
    }

    /// With the usual reason phrase of the status.
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, ended: bool) -> Self {
        Self {
            status: status.as_u16(),
            status_text: status.canonical_reason().unwrap_or_default().to_owned(),
            headers: Headers::from(headers),
            ended,
            superseded: false,
        }
    }

    pub(crate) fn superseded() -> Self {
        Self { superseded: true, ..Self::new(StatusCode::UNAUTHORIZED, &HeaderMap::new(), true) }
    }
}

/// A reason phrase as `fetch` gives it to a page: RFC 9112, section 4, without white space at its ends. Each character stands for one byte.
/// The limit of hyper for a head limits its length. If it has bytes beyond ASCII, hyper gives an empty one.
fn status_text(reason: &ReasonPhrase) -> String {
    reason.as_bytes().trim_ascii().iter().copied().map(char::from).collect()
}

/// Names and values. A value is a byte string: each character of the JSON string stands for one byte, as in Fetch
/// (<https://webidl.spec.whatwg.org/#idl-ByteString>).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Headers(Vec<(String, String)>);

/// The maximum number of header fields in a request or a response. Servers commonly accept about a hundred. `HeaderMap` itself
/// panics beyond 32,768.
pub(crate) const MAX_HEADERS: usize = 1_000;

/// Why headers are invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// A name or a value that HTTP does not allow.
    #[error("{0:?} is not a valid header")]
    Invalid(String),
    #[error(
        "the request has {0} header fields, and at most {MAX_HEADERS} are allowed: send the data in the body"
    )]
    TooMany(usize),
}

impl Headers {
    pub(crate) fn parse(self) -> Result<HeaderMap, HeaderError> {
        let count = self.0.len();
        if count > MAX_HEADERS {
            return Err(HeaderError::TooMany(count));
        }
        let mut map = HeaderMap::new();
        for (name, value) in self.0 {
            let parsed = HeaderName::try_from(&name).ok().zip(parse_value(&value));
            let (parsed, value) = parsed.ok_or(HeaderError::Invalid(name))?;
            map.try_append(parsed, value).map_err(|_| HeaderError::TooMany(count))?;
        }
        Ok(map)
    }
}

fn parse_value(value: &str) -> Option<HeaderValue> {
    let bytes = value.chars().map(|character| u8::try_from(character).ok()).collect::<Option<Vec<_>>>()?;
    HeaderValue::from_bytes(&bytes).ok()
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
        Self(map.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }
}

/// Joins head and body in one message.
pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut message = vec![0; 4];
    serde_json::to_writer(&mut message, head)?;
    let length = u32::try_from(message.len() - 4).map_err(serde::ser::Error::custom)?;
    message[..4].copy_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(message)
}

/// Splits a message into head and body. Returns `None` if the message is malformed.
pub(crate) fn decode<T: DeserializeOwned>(message: &[u8]) -> Option<(T, &[u8])> {
    let (length, rest) = message.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (head, body) = rest.split_at_checked(length)?;
    Some((serde_json::from_slice(head).ok()?, body))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn decode_reverses_encode() {
        let message = encode(&json!({ "a": "ü" }), &[0, 255]).unwrap();
        assert_eq!(message[..4], [0, 0, 0, 10]);
        assert_eq!(decode::<Value>(&message), Some((json!({ "a": "ü" }), &[0, 255][..])));
        assert_eq!(decode::<Value>(&encode(&1, &[]).unwrap()), Some((json!(1), &[][..])));
    }

    #[test]
    fn decode_rejects_truncated_and_malformed_messages() {
        for message in [&b""[..], b"\0\0\0", b"\0\0\0\x021", b"\xff\xff\xff\xff1", b"\0\0\0\x01{"] {
            assert_eq!(decode::<Value>(message), None, "{message:?}");
        }
    }

    #[test]
    fn header_values_are_byte_strings() {
        let text: Headers = serde_json::from_value(json!([["last-event-id", "\u{c3}\u{bc}"]])).unwrap();
        let map = text.parse().unwrap();
        assert_eq!(map["last-event-id"].as_bytes(), "ü".as_bytes());
        assert_eq!(
            serde_json::to_value(Headers::from(&map)).unwrap(),
            json!([["last-event-id", "\u{c3}\u{bc}"]])
        );
        for (name, value) in [("a b", ""), ("", ""), ("a", "1\r\nb: 2"), ("a", "\u{100}"), ("a\n", "")] {
            let headers: Headers = serde_json::from_value(json!([[name, value]])).unwrap();
            headers.parse().unwrap_err();
        }
    }

    #[test]
    fn the_reason_phrase_is_the_usual_one_unless_the_sidecar_has_sent_another() {
        let mut response = hyper::Response::new(());
        *response.status_mut() = StatusCode::NOT_FOUND;
        let text = |response: &hyper::Response<()>| {
            ResponseHead::of(&response.clone().into_parts().0, true).status_text
        };
        assert_eq!(text(&response), "Not Found");
        for (sent, expected) in [
            ("No such note", "No such note"),
            ("  so \t it is  ", "so \t it is"),
            ("", ""),
            ("\u{fc}", "\u{c3}\u{bc}"),
        ] {
            response.extensions_mut().insert(ReasonPhrase::try_from(sent.to_owned()).unwrap());
            assert_eq!(text(&response), expected);
        }
        *response.status_mut() = StatusCode::from_u16(299).unwrap();
        response.extensions_mut().clear();
        assert_eq!(text(&response), "");
    }

    #[test]
    fn too_many_headers_are_an_error() {
        let headers = |count: usize| {
            let fields: Vec<_> = (0..count).map(|number| (format!("x-{number}"), String::new())).collect();
            Headers(fields).parse().map(|map| map.len()).map_err(|error| error.to_string())
        };
        assert_eq!(headers(MAX_HEADERS), Ok(MAX_HEADERS));
        for count in [MAX_HEADERS + 1, 40_000] {
            let error = headers(count).unwrap_err();
            assert!(error.contains(&format!("{count} header fields")), "{error}");
        }
    }
}
