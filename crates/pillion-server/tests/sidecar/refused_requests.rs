//! Requests that do not come from the app: none of them reaches a handler. The tests send raw bytes, because an HTTP library
//! would not send most of these requests.

use libtest_mimic::Trial;

#[cfg(target_os = "linux")]
use crate::inherited_listener::{OWN_PID, with_listener};
use crate::{
    harness::{RunningSidecar, sidecar},
    test_sidecar::HITS,
    token::TOKEN,
};

pub(crate) fn trials() -> Vec<Trial> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "Linux has one test more"))]
    let mut all = trials![
        refused_requests_reach_no_handler,
        the_same_requests_from_the_app_reach_a_handler,
        each_request_of_a_connection_needs_the_token,
    ];
    #[cfg(target_os = "linux")]
    all.extend(trials![refused_requests_reach_no_handler_on_a_local_socket]);
    all
}

/// A request: its first line, and the rest after the headers of a [sender](SENDERS).
type Form = (&'static str, &'static str);

/// Kinds of request. Each one reaches a handler if the app sends it. `{host}` is the sidecar's address.
const FORMS: &[Form] = &[
    ("GET /headers HTTP/1.1", "\r\n"),
    ("GET /nowhere?query=/health HTTP/1.1", "\r\n"),
    ("HEAD /headers HTTP/1.1", "\r\n"),
    ("POST /echo HTTP/1.1", "Content-Length: 4\r\n\r\nbody"),
    ("POST /echo HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
    ("POST /echo HTTP/1.1", "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\na=b"),
    ("POST /echo HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"),
    ("PUT /headers HTTP/1.1", "Content-Length: 0\r\n\r\n"),
    ("PATCH /headers HTTP/1.1", "Content-Length: 0\r\n\r\n"),
    ("DELETE /headers HTTP/1.1", "\r\n"),
    ("OPTIONS /headers HTTP/1.1", "\r\n"),
    ("TRACE /headers HTTP/1.1", "\r\n"),
    ("BREW /headers HTTP/1.1", "\r\n"),
    ("GET /headers HTTP/1.0", "\r\n"),
    ("GET http://{host}/headers HTTP/1.1", "\r\n"),
    ("GET /%68eaders/../health HTTP/1.1", "\r\n"),
    ("GET /events HTTP/1.1", "Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"),
    (
        "GET /socket HTTP/1.1",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
    (
        "GET /headers HTTP/1.1",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    ),
];

/// Headers that identify a sender other than the app, and the status of the answer.
const SENDERS: &[(&str, &str)] = &[
    ("Host: {host}\r\n", "401"),
    ("Host: {host}\r\nOrigin: tauri://localhost\r\n", "401"),
    ("Host: {host}\r\nAuthorization: Bearer {wrong}\r\n", "401"),
    ("Host: {host}\r\nAuthorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n", "401"),
    (
        "Host: {host}\r\nCookie: token={token}\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n",
        "401",
    ),
    ("Host: {host}\r\nAuthorization: Bearer {token}\r\nOrigin: https://evil.example\r\n", "403"),
    ("Host: {host}\r\nAuthorization: Bearer {token}\r\nOrigin: null\r\n", "403"),
    (
        "Host: {host}\r\nAuthorization: Bearer {token}\r\nOrigin: tauri://localhost\r\nOrigin: http://evil.example\r\n",
        "403",
    ),
    ("Host: evil.example\r\nAuthorization: Bearer {token}\r\n", "403"),
    ("Host: {host}.evil.example\r\nAuthorization: Bearer {token}\r\n", "403"),
    ("Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n", "403"),
    ("Host: [::1]:{port}\r\nAuthorization: Bearer {token}\r\n", "403"),
    ("Authorization: Bearer {token}\r\n", "400"),
    ("Host: {host}\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n", "400"),
];

/// Further requests, and the status of the answer. docs/protocol has those that every implementation refuses alike. Without a status, the
/// sidecar may also close the connection.
const FURTHER: &[(&str, &str)] = &[
    // Spellings that only a lenient parser reads.
    ("GET /headers HTTP/1.1\r\nHost : {host}\r\n{bearer}\r\n", "400"),
    ("GET /headers HTTP/1.1\r\nHost: {host}\r\n\tevil.example\r\n{bearer}\r\n", "400"),
    ("GET /headers HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer\r\n {token}\r\n\r\n", "400"),
    ("GET /headers HTTP/1.1\r\nHost: {host}\r\nAuthorization : Bearer {token}\r\n\r\n", "400"),
    ("CONNECT evil.example:443 HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n", "403"),
    ("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n", "401"),
    // Some HTTP libraries answer it themselves.
    ("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n", "401"),
    // Other protocols, and malformed HTTP.
    ("GET /headers\r\n\r\n", ""),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}", ""),
    ("GET /headers HTTP/1.1\r\nHost: {host}\r\nX: \u{0}\r\n{bearer}\r\n", "400"),
    ("GET /headers HTTP/1.1\r\nHost: {host}\r\nno colon\r\n{bearer}\r\n", "400"),
    ("GET  /headers HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n", "400"),
    ("GET /headers HTTP/9.9\r\nHost: {host}\r\n{bearer}\r\n", "400"),
    ("GET /headers HTTP/1.1\nHost: {host}\n\n", "401"),
    (
        "POST /echo HTTP/1.1\r\nHost: {host}\r\n{bearer}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "400",
    ),
    ("POST /echo HTTP/1.1\r\nHost: {host}\r\n{bearer}Content-Length: -1\r\n\r\n", "400"),
];

fn cases() -> Vec<(String, &'static str)> {
    let table = FORMS.iter().flat_map(|(line, rest)| {
        SENDERS.iter().map(move |(sender, status)| (format!("{line}\r\n{sender}{rest}"), *status))
    });
    table.chain(FURTHER.iter().map(|(request, status)| ((*request).to_owned(), *status))).collect()
}

fn fill(template: &str, port: u16) -> String {
    template
        .replace("{port}", &port.to_string())
        .replace("{bearer}", "Authorization: Bearer {token}\r\n")
        .replace("{upgrade}", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
        .replace("{offer}", "Sec-WebSocket-Protocol: pillion, pillion.bearer.{token}\r\n")
        .replace(
            "{asks}",
            "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n",
        )
        .replace("{wrong}", &"0".repeat(64))
        .replace("{token}", TOKEN)
}

/// The head of the answer to one request on a new connection.
async fn answer(running: &RunningSidecar, request: &str) -> String {
    let mut connection = running.connect().await;
    connection.send(fill(request, running.port)).await;
    connection.head().await
}

/// How many requests have reached a handler so far.
async fn hits(running: &RunningSidecar) -> usize {
    let answer = running.request(&format!("GET {HITS}"), &[&format!("Authorization: Bearer {TOKEN}")]).await;
    answer.split_once("\r\n\r\n").unwrap().1.parse().unwrap()
}

async fn refused_requests_reach_no_handler() {
    let running = RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN)).await;
    assert_all_refused(&running, &cases()).await;
}

/// On a local socket the same rules hold.
#[cfg(target_os = "linux")]
async fn refused_requests_reach_no_handler_on_a_local_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let running =
        RunningSidecar::start_on(with_listener(listener, OWN_PID).env("PILLION_TOKEN", TOKEN), &path).await;
    assert_all_refused(&running, &cases()).await;
}

async fn assert_all_refused(running: &RunningSidecar, cases: &[(String, &str)]) {
    for (request, status) in cases {
        let answer = answer(running, request).await;
        let status_code = answer.split(' ').nth(1).unwrap_or_default();
        assert!(
            status_code == *status || status.is_empty() && matches!(status_code, "" | "400"),
            "{request}\n{answer}"
        );
        assert_eq!(hits(running).await, 0, "this request reached a handler: {request}");
        if status_code == "403" {
            assert!(!answer.contains("access-control-"), "{request}\n{answer}");
        }
        if status_code == "401" {
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{request}\n{answer}");
        }
    }
}

/// Shows that the requests above are refused because of their sender, and that the counter works.
async fn the_same_requests_from_the_app_reach_a_handler() {
    let running = RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN)).await;
    for (number, (line, rest)) in FORMS.iter().enumerate() {
        let sender = "Host: {host}\r\nOrigin: tauri://localhost\r\nAuthorization: Bearer {token}\r\n";
        let answer = answer(&running, &format!("{line}\r\n{sender}{rest}")).await;
        let status_code: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(matches!(status_code, 100 | 101 | 200 | 418), "{line}: {answer}");
        assert_eq!(hits(&running).await, number + 1, "{line}");
    }
}

async fn each_request_of_a_connection_needs_the_token() {
    let running = RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN)).await;
    let (health, echo) =
        ("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n", "POST /echo HTTP/1.1\r\nHost: {host}\r\n");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut connection = running.connect().await;
    // The token of one request does not count for the next one.
    connection.send(format!("GET {HITS} HTTP/1.1\r\nHost: {{host}}\r\n{bearer}\r\n")).await;
    assert!(connection.receive("\r\n\r\n0").await.starts_with("HTTP/1.1 200 "));
    // Three at once: a health request, one without the token, and a health request again. A connection that has shown the
    // token survives a refusal.
    connection.send(format!("{health}{echo}Content-Length: 0\r\n\r\n{health}")).await;
    connection.receive(r#"{"status":"ok"}"#).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 401 "));
    connection.receive(r#"{"status":"ok"}"#).await;
    connection.send(format!("{echo}Content-Length: 0\r\n\r\n")).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 401 "));
    assert_eq!(hits(&running).await, 0);
}
