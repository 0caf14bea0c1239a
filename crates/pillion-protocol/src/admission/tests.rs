use std::num::NonZeroU16;

use super::*;
use proptest::prelude::*;

const OURS: &[u8] = b"127.0.0.1:4242";
const PAGE: &[u8] = b"tauri://localhost";

fn token() -> Token {
    Token::from_bytes(&[0xa5; 32])
}

fn admission(token: Option<Token>) -> Admission {
    Admission::new(ListenAddr::Tcp(NonZeroU16::new(4242).unwrap()), vec!["tauri://localhost".into()], token)
}

fn decide(head: Head<'_>) -> Decision {
    admission(Some(token())).decide(&head)
}

/// A request that admission serves.
fn app_request(authorization: &[u8]) -> Head<'_> {
    Head {
        method: "POST",
        path: "/",
        host: Field::One(OURS),
        origin: Field::One(PAGE),
        authorization: Field::One(authorization),
        ..Head::default()
    }
}

fn credentials() -> Vec<u8> {
    [b"Bearer ", token().reveal().as_bytes()].concat()
}

/// The vectors of docs/protocol have the heads that HTTP parsers let through; tests/vectors.rs runs them.
#[test]
fn a_head_that_no_http_parser_lets_through_is_refused_too() {
    let credentials = credentials();
    for foreign in ["127.0.0.1:4242\u{0}", " 127.0.0.1:4242", "http://127.0.0.1:4242"] {
        let head = Head { host: Field::One(foreign.as_bytes()), ..app_request(&credentials) };
        assert_eq!(decide(head), Decision::Refuse(Refusal::ForeignHost), "{foreign}");
    }
    let padded = [&credentials, b" ".as_slice()].concat();
    assert_eq!(decide(app_request(&padded)), Decision::Unauthorized);
    for path in ["health", ""] {
        let head = Head { method: "GET", path, ..app_request(b"") };
        assert_eq!(decide(head), Decision::Unauthorized, "{path}");
    }
}

#[test]
fn host_may_omit_the_default_port() {
    let admission = Admission::new(ListenAddr::Tcp(NonZeroU16::new(80).unwrap()), vec![], None);
    for host in ["127.0.0.1", "127.0.0.1:80", "localhost", "localhost:80"] {
        let head = Head { host: Field::One(host.as_bytes()), ..Head::default() };
        assert_eq!(admission.decide(&head), Decision::Serve, "{host}");
    }
}

#[test]
fn without_bearer_keeps_only_the_apps_own_subprotocols() {
    let list = |text: &str| (text.as_bytes().to_vec(), true);
    assert_eq!(without_bearer(b"chat, pillion ,, pillion.bearer.abc,json"), list("chat, json"));
    assert_eq!(without_bearer(b"pillion.bearer.abc,pillion"), list(""));
    assert_eq!(without_bearer(b"chat"), (b"chat".to_vec(), false));
    assert_eq!(without_bearer(b"pillion, chat pillion.bearer.abc json, v2"), list("v2"));
}

proptest! {
    /// Without the token no request is served, and admission refuses exactly the foreign hosts and origins.
    #[test]
    fn no_request_is_served_without_the_token(
        method in "GET|HEAD|POST|OPTIONS|CONNECT|[A-Z]{1,9}",
        path in "/|/health|[/a-z.%]{0,20}",
        host in prop::option::of("127\\.0\\.0\\.1:4242|localhost:4242|[a-z0-9.:]{0,20}"),
        origin in prop::option::of("tauri://localhost|null|[a-z:/.]{0,20}"),
        authorization in prop::option::of("(Bearer |bearer |)([0-9a-f]{64}|[ -~]{0,80})"),
        offered in prop::option::of("(pillion|chat|, |pillion\\.bearer\\.[0-9a-f]{0,64}){0,4}"),
    ) {
        fn field(text: &Option<String>) -> Field<'_> {
            text.as_ref().map_or(Field::Absent, |text| Field::One(text.as_bytes()))
        }
        let head = Head {
            method: &method, path: &path, host: field(&host), origin: field(&origin),
            authorization: field(&authorization), upgrade: Field::One(b"websocket"), subprotocols: field(&offered),
            requested_method: Field::One(b"GET"), ..Head::default()
        };
        let decision = decide(head);
        prop_assert_ne!(decision, Decision::Serve);
        let ours = host.as_deref().is_some_and(|host| ["127.0.0.1:4242", "localhost:4242"].contains(&host));
        let page = origin.as_deref().is_none_or(|origin| origin == "tauri://localhost");
        prop_assert_eq!(!(ours && page), matches!(decision, Decision::Refuse(_)));
    }
}
