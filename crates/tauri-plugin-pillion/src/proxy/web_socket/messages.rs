//! Encodes messages of a WebSocket for the IPC, one after another: the opcode of RFC 6455, section 5.2, as one byte; the length of the
//! payload as four bytes, big-endian; the payload. `guest-js/web-socket-messages.ts` is the other side.

use hyper::body::{Buf as _, Bytes};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, protocol::CloseFrame};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
/// The maximum length of the reason of a close in bytes: RFC 6455, section 5.5, without the code.
const MAX_REASON: usize = 123;

/// Appends a message. Pings and pongs are left out, because a page does not see them.
pub(super) fn encode(message: &Message, into: &mut Vec<u8>) {
    let (opcode, payload) = match message {
        Message::Text(text) => (TEXT, text.as_bytes()),
        Message::Binary(bytes) => (BINARY, &bytes[..]),
        Message::Close(frame) => {
            // A close without a code has no payload: RFC 6455, section 7.1.5.
            let payload = frame.as_ref().map_or(Vec::new(), |CloseFrame { code, reason }| {
                [&u16::from(*code).to_be_bytes(), reason.as_bytes()].concat()
            });
            return append(CLOSE, &payload, into);
        }
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return,
    };
    append(opcode, payload, into);
}

fn append(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("the limit of a message is lower");
    into.push(opcode);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(payload);
}

/// Returns `None` if the bytes are not messages.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Message>> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (opcode, length) = (rest.try_get_u8().ok()?, rest.try_get_u32().ok()?);
        let length = usize::try_from(length).ok()?;
        if length > rest.len() {
            return None;
        }
        messages.push(message(opcode, rest.split_to(length))?);
    }
    Some(messages)
}

fn message(opcode: u8, mut payload: Bytes) -> Option<Message> {
    match opcode {
        TEXT => Some(Message::Text(Utf8Bytes::try_from(payload).ok()?)),
        BINARY => Some(Message::Binary(payload)),
        CLOSE if payload.is_empty() => Some(Message::Close(None)),
        CLOSE => {
            let code = payload.try_get_u16().ok()?;
            // As in a browser: https://websockets.spec.whatwg.org/#dom-websocket-close.
            if !matches!(code, 1000 | 3000..=4999) || payload.len() > MAX_REASON {
                return None;
            }
            let code = code.into();
            Some(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::try_from(payload).ok()? })))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_reverses_encode() {
        let close = |reason: &str| CloseFrame { code: 4000.into(), reason: reason.to_owned().into() };
        let messages = [
            Message::text("größer"),
            Message::binary(vec![0, 255]),
            Message::text(""),
            Message::Close(None),
            Message::Close(Some(close(""))),
            Message::Close(Some(close("bye"))),
        ];
        let mut bytes = Vec::new();
        for message in &messages {
            encode(message, &mut bytes);
        }
        assert_eq!(bytes[..7], [1, 0, 0, 0, 8, b'g', b'r']);
        assert_eq!(decode(&bytes), Some(messages.to_vec()));
    }

    #[test]
    fn pings_are_left_out() {
        let mut bytes = Vec::new();
        encode(&Message::Ping(Bytes::from_static(b"1")), &mut bytes);
        encode(&Message::Pong(Bytes::from_static(b"1")), &mut bytes);
        assert!(bytes.is_empty());
    }

    #[test]
    fn a_close_of_the_page_has_a_code_and_a_reason_that_a_page_may_choose() {
        let close = |code: u16, reason: usize| {
            let payload = [&code.to_be_bytes()[..], &vec![b'a'; reason]].concat();
            let mut bytes = Vec::new();
            append(CLOSE, &payload, &mut bytes);
            decode(&bytes).is_some()
        };
        for code in [1000, 3000, 4999] {
            assert!(close(code, MAX_REASON), "{code}");
            assert!(!close(code, MAX_REASON + 1), "{code}");
        }
        for code in [0, 999, 1001, 1005, 1006, 2999, 5000, u16::MAX] {
            assert!(!close(code, 0), "{code}");
        }
    }

    #[test]
    fn decode_rejects_what_is_not_a_message() {
        for bytes in [
            &b"\x01"[..],
            b"\x01\0\0\0",
            b"\x01\0\0\0\x02a",
            b"\x01\0\0\0\x01\xff",
            b"\x09\0\0\0\0",
            b"\x08\0\0\0\x01a",
            b"\x02\xff\xff\xff\xff",
            b"\x02\0\0\0\0\x02",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
