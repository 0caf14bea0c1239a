//! What the fuzz targets in `fuzz/` call, each with any bytes: the parsers, and what must hold whatever the bytes are.

#[path = "../../../fuzz/shared.rs"]
mod shared;

use std::{ffi::OsString, num::NonZeroU16};

use crate::{
    Admission, Announcement, Decision, HostEnvironment, LineFramer, ListenAddr, Token,
    admission::{Field, Head, without_bearer},
    announcement::LISTENER,
    environment::{INSTANCE, PORT, TOKEN},
    health::HealthReport,
};
use shared::fill;

/// How many bytes of a line are kept here: few, so that lines are over-long often.
const LIMIT: usize = 48;

/// A sidecar's stdout. The first byte says how large the pieces are in which it arrives.
///
/// # Panics
/// When the pieces make a difference, a line is longer than it may be, or a place comes from anything but a whole
/// announcement.
pub fn output(bytes: &[u8]) {
    let Some((&pieces, stream)) = bytes.split_first() else { return };
    let whole = lines(stream.chunks(usize::MAX));
    assert_eq!(whole, lines(stream.chunks(usize::from(pieces).max(1))), "the pieces make a difference");
    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    // What follows the last newline is a line only if there is something.
    if expected.last() == Some(&b"".as_slice()) {
        expected.pop();
    }
    assert_eq!(whole.len(), expected.len());
    let ends = stream.iter().filter(|byte| **byte == b'\n').count();
    for (at, (line, sent)) in whole.iter().zip(expected).enumerate() {
        assert!(line.bytes.len() <= LIMIT);
        assert!(sent.starts_with(&line.bytes));
        assert_eq!(line.dropped, sent.len().saturating_sub(LIMIT) as u64);
        if let Some(Announcement::Of(addr)) = line.announcement {
            let announced = match addr {
                ListenAddr::Tcp(port) => format!("BACKEND_PORT:{port}"),
                ListenAddr::Local => format!("BACKEND_SOCKET:{LISTENER}"),
            };
            let sent = String::from_utf8_lossy(sent);
            let shown = sent.trim_end_matches('\r').rsplit('\r').next();
            assert_eq!(shown, Some(announced.as_str()));
            assert!(at < ends, "an announcement without its newline");
        }
    }
}

#[derive(Debug, PartialEq)]
struct Seen {
    bytes: Vec<u8>,
    dropped: u64,
    announcement: Option<Announcement>,
}

fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let (mut framer, mut lines) = (LineFramer::new(LIMIT), Vec::new());
    let mut keep = |line: crate::Line<'_>| {
        let announcement = Announcement::read(&line);
        lines.push(Seen { bytes: line.bytes().to_vec(), dropped: line.dropped(), announcement });
    };
    for chunk in chunks {
        framer.feed(chunk, &mut keep);
    }
    framer.finish(&mut keep);
    lines
}

/// The body of an answer to `GET /health`.
///
/// # Panics
/// When what was read of it reads differently once it is written again.
pub fn health(bytes: &[u8]) {
    let report = HealthReport::read(bytes);
    let body = serde_json::json!({ "version": report.version, "instance": report.instance });
    assert_eq!(HealthReport::read(body.to_string().as_bytes()), report);
}

/// An environment, as `/proc/PID/environ` shows one: entries that end with a zero.
///
/// # Panics
/// When something is read that is not there, a secret is shown, or a refusal depends on it.
pub fn environment(bytes: &[u8]) {
    let entries: Vec<(&[u8], &[u8])> = bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let name = entry.iter().position(|byte| *byte == b'=')?;
            Some((&entry[..name], &entry[name + 1..]))
        })
        .collect();
    let value = |name: &str| entries.iter().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| *value);
    let secret = value(TOKEN).map(String::from_utf8_lossy).unwrap_or_default();
    match HostEnvironment::read(|name| value(name).map(os_string)) {
        Ok(mut given) => {
            let written = |name| value(name).filter(|value| !value.is_empty()).map(<[u8]>::to_vec);
            assert_eq!(given.port.map(|port| port.to_string().into_bytes()), written(PORT));
            assert_eq!(given.instance.map(|nonce| nonce.to_string().into_bytes()), written(INSTANCE));
            let token = given.token.as_ref().map(|token| token.reveal().as_bytes().to_vec());
            assert_eq!(token, written(TOKEN));
            // What is no secret may well repeat one.
            given.allowed_origins = None;
            assert!(given.token.is_none() || !format!("{given:?}").contains(&*secret));
        }
        Err(error) => {
            let other = |name: &str| (name == TOKEN).then(|| "another".into());
            let said = HostEnvironment::read(|name| other(name).or_else(|| value(name).map(os_string)));
            assert_eq!(said.err(), Some(error), "the secret makes a difference");
        }
    }
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// The head of a request: lines that start with the letter of what they are, in any order and number. `{token}` stands for
/// the right token.
///
/// # Panics
/// When a request is served that lacks what the protocol asks of it (rule 5), or one is refused that has it all.
pub fn admission(bytes: &[u8]) {
    let token = Token::from_bytes(&[0xa5; 32]);
    let addr = ListenAddr::Tcp(NonZeroU16::MAX);
    let admission = Admission::new(addr, vec!["tauri://localhost".to_owned()], Some(token.clone()));
    let filled = fill(bytes, b"{token}", token.reveal().as_bytes());
    let lines: Vec<(u8, &[u8])> = filled
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split_first().map(|(kind, value)| (*kind, value)))
        .collect();
    let field = |kind| lines.iter().filter(|line| line.0 == kind).map(|line| line.1).collect::<Field<'_>>();
    let text = |kind| match field(kind) {
        Field::One(text) => std::str::from_utf8(text).ok(),
        Field::Absent | Field::Several => None,
    };
    let head = Head {
        method: text(b'm').unwrap_or("GET"),
        scheme: text(b's'),
        authority: text(b't'),
        path: text(b'p').unwrap_or("/"),
        host: field(b'h'),
        origin: field(b'o'),
        authorization: field(b'a'),
        requested_method: field(b'r'),
        upgrade: field(b'u'),
        subprotocols: field(b'w'),
    };
    let is_ours = |host: &[u8]| {
        let host = host.to_ascii_lowercase();
        host == b"127.0.0.1:65535" || host == b"localhost:65535"
    };
    let ours = matches!(head.host, Field::One(host) if is_ours(host))
        && head.authority.is_none_or(|authority| is_ours(authority.as_bytes()))
        && head.scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("http"));
    let from_app = matches!(head.origin, Field::Absent | Field::One(b"tauri://localhost"));
    let verdict = admission.decide(&head);
    assert_eq!(matches!(verdict, Decision::Refuse(_)), !(ours && from_app), "{head:?}");
    let shown = |value: Field<'_>| matches!(value, Field::One(value) if contains(value, token.reveal()));
    let presented = shown(head.authorization)
        || shown(head.subprotocols)
            && matches!(head.upgrade, Field::One(upgrade) if upgrade.eq_ignore_ascii_case(b"websocket"));
    assert!(presented || verdict != Decision::Serve, "{head:?}");
    if let Field::One(offered) = head.subprotocols {
        let (own, _) = without_bearer(offered);
        assert!(!contains(&own, "pillion.bearer."));
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{shared::replay, *};

    #[test]
    fn the_corpus_holds() {
        replay("output", output);
        replay("health", health);
        replay("environment", environment);
        replay("admission", admission);
    }
}
