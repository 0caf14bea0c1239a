//! The bodies of the fuzz targets in `fuzz/`. Each one feeds arbitrary bytes to a parser and asserts its invariants.

#[path = "../shared.rs"]
mod shared;

use std::{ffi::OsString, num::NonZeroU16};

use crate::{
    Admission, Announcement, Decision, HostEnvironment, LineFramer, ListenAddr, NearMiss, Token,
    admission::{Field, Head, without_bearer},
    announcement::LISTENER,
    environment::{INSTANCE, PORT, TOKEN},
    health::HealthReport,
    progress,
};
use shared::fill;

/// The line limit in bytes. It is small, so that many lines are over-long.
const LIMIT: usize = 48;

/// A sidecar's stdout. The first byte is the size of the chunks in which it arrives.
///
/// # Panics
/// Panics if the chunk size changes the result, if a line exceeds the limit, or if an address comes from anything but a
/// complete announcement.
pub fn output(bytes: &[u8]) {
    let Some((&pieces, stream)) = bytes.split_first() else { return };
    let whole = lines(stream.chunks(usize::MAX));
    assert_eq!(whole, lines(stream.chunks(usize::from(pieces).max(1))), "the chunk size changes the lines");
    let mut expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    // The rest after the last newline is a line only if it is not empty.
    if expected.last() == Some(&b"".as_slice()) {
        expected.pop();
    }
    assert_eq!(whole.len(), expected.len());
    let ends = stream.iter().filter(|byte| **byte == b'\n').count();
    for (at, (line, sent)) in whole.iter().zip(expected).enumerate() {
        // An over-long line is cut to what a terminal shows of it: the part after the last carriage return.
        let end = sent.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
        let start = sent[..end].iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
        let kept = if sent.len() > LIMIT { &sent[start..end] } else { &sent[..end] };
        assert_eq!(line.bytes, kept[..kept.len().min(LIMIT)]);
        assert_eq!(line.dropped, kept.len().saturating_sub(LIMIT) as u64);
        if let Some(words) = &line.progress {
            assert!(at < ends, "progress without its newline counted");
            assert!(words.len() <= progress::LIMIT && !words.contains(char::is_control), "{words:?}");
        }
        if let Some(Announcement::Address(addr)) = line.announcement {
            let announced = match addr {
                ListenAddr::Tcp(port) => format!("BACKEND_PORT:{port}"),
                ListenAddr::Local => format!("BACKEND_SOCKET:{LISTENER}"),
            };
            let sent = String::from_utf8_lossy(sent);
            let shown = sent.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
            let (before, after) = shown.split_once(&announced).expect("the line holds its announcement");
            assert!(is_decoration(&before.replace('\u{feff}', "")) && is_decoration(after), "{shown:?}");
            assert!(at < ends, "an announcement without its newline counted");
        }
    }
}

/// Whether the text consists of colours alone.
fn is_decoration(text: &str) -> bool {
    let mut sequences = text.split("\u{1b}[");
    let colour =
        |rest: &str| rest.strip_suffix('m').is_some_and(|codes| codes.bytes().all(|byte| byte < b'<'));
    sequences.next() == Some("") && sequences.all(colour)
}

#[derive(Debug, PartialEq)]
struct Seen {
    bytes: Vec<u8>,
    dropped: u64,
    announcement: Option<Announcement>,
    near_miss: Option<NearMiss>,
    progress: Option<String>,
}

fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Seen> {
    let (mut framer, mut lines) = (LineFramer::new(LIMIT), Vec::new());
    let mut keep = |line: crate::Line<'_>| {
        let (announcement, near_miss) = (Announcement::read(&line), NearMiss::on_stdout(&line));
        let progress = progress::read(&line).map(progress::words);
        let forms = [announcement.is_some(), near_miss.is_some(), progress.is_some()];
        assert!(
            forms.iter().filter(|form| **form).count() < 2,
            "{announcement:?}, {near_miss:?}, {progress:?}"
        );
        let (bytes, dropped) = (line.bytes().to_vec(), line.dropped());
        lines.push(Seen { bytes, dropped, announcement, near_miss, progress });
    };
    for chunk in chunks {
        framer.feed(chunk, &mut keep);
    }
    framer.finish(&mut keep);
    lines
}

/// The body of a health answer.
///
/// # Panics
/// Panics if the report changes when it is written and read again.
pub fn health(bytes: &[u8]) {
    let report = HealthReport::read(bytes);
    let body = serde_json::json!({ "version": report.version, "pillion_protocol": report.pillion_protocol, "instance": report.instance });
    assert_eq!(HealthReport::read(body.to_string().as_bytes()), report);
}

/// An environment in the format of `/proc/PID/environ`: each entry ends with a zero byte.
///
/// # Panics
/// Panics if a value differs from its variable, if `Debug` prints the token, or if the token changes an error.
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
        Ok(mut environment) => {
            let written = |name| value(name).filter(|value| !value.is_empty()).map(<[u8]>::to_vec);
            assert_eq!(environment.port.map(|port| port.to_string().into_bytes()), written(PORT));
            assert_eq!(
                environment.instance.map(|instance| instance.to_string().into_bytes()),
                written(INSTANCE)
            );
            let token = environment.token.as_ref().map(|token| token.reveal().as_bytes().to_vec());
            assert_eq!(token, written(TOKEN));
            // The other variables may contain the same bytes as the token.
            environment.allowed_origins = None;
            assert!(environment.token.is_none() || !format!("{environment:?}").contains(&*secret));
        }
        Err(error) => {
            let other = |name: &str| (name == TOKEN).then(|| "another".into());
            let result = HostEnvironment::read(|name| other(name).or_else(|| value(name).map(os_string)));
            assert_eq!(result.err(), Some(error), "the token changes the error");
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

/// The head of a request: one line for each part, in any order and number. The first letter of a line names the part.
/// `{token}` stands for the right token.
///
/// # Panics
/// Panics if admission serves a request that breaks rule 5 of the protocol, or refuses one that keeps it.
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
    let decision = admission.decide(&head);
    assert_eq!(matches!(decision, Decision::Refuse(_)), !(ours && from_app), "{head:?}");
    let shown = |value: Field<'_>| matches!(value, Field::One(value) if contains(value, token.reveal()));
    let presented = shown(head.authorization)
        || shown(head.subprotocols)
            && matches!(head.upgrade, Field::One(upgrade) if upgrade.eq_ignore_ascii_case(b"websocket"));
    assert!(presented || decision != Decision::Serve, "{head:?}");
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
    fn the_committed_corpus_passes() {
        replay("output", output);
        replay("health", health);
        replay("environment", environment);
        replay("admission", admission);
    }
}
