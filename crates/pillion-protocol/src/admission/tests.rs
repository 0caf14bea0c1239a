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

#[test]
fn host_must_name_this_server() {
    let credentials = credentials();
    for ours in ["127.0.0.1:4242", "localhost:4242", "LocalHost:4242"] {
        let head = Head { host: Field::One(ours.as_bytes()), ..app_request(&credentials) };
        assert_eq!(decide(head), Decision::Serve, "{ours}");
    }
    for foreign in [
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:80",
        "127.0.0.1:4243",
        "127.0.0.1:04242",
        "127.0.0.1:42420",
        "127.0.0.2:4242",
        "127.1:4242",
        "2130706433:4242",
        "0x7f000001:4242",
        "0.0.0.0:4242",
        "[::1]:4242",
        "[::ffff:127.0.0.1]:4242",
        "localhost.:4242",
        "evil.example:4242",
        "127.0.0.1.evil.example:4242",
        "localhost.evil.example:4242",
        "user@127.0.0.1:4242",
        "127.0.0.1:4242@evil.example",
        "127.0.0.1:4242, evil.example",
        "127.0.0.1:4242\u{0}",
        " 127.0.0.1:4242",
        "http://127.0.0.1:4242",
    ] {
        let head = Head { host: Field::One(foreign.as_bytes()), ..app_request(&credentials) };
        assert_eq!(decide(head), Decision::Refuse(Refusal::ForeignHost), "{foreign}");
    }
    for (host, refusal) in [(Field::Absent, Refusal::NoHost), (Field::Several, Refusal::SeveralHosts)] {
        assert_eq!(decide(Head { host, ..app_request(&credentials) }), Decision::Refuse(refusal));
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
fn on_a_local_socket_the_host_is_localhost_and_the_other_checks_hold() {
    let admission = Admission::new(ListenAddr::Local, vec!["tauri://localhost".into()], Some(token()));
    let credentials = credentials();
    let decide = |host: &'static [u8], origin: &'static [u8], authorization| {
        let (host, origin) = (Field::One(host), Field::One(origin));
        admission.decide(&Head { host, origin, ..app_request(authorization) })
    };
    assert_eq!(decide(b"LocalHost", PAGE, &credentials), Decision::Serve);
    assert_eq!(decide(b"localhost", PAGE, b"Bearer x"), Decision::Unauthorized);
    assert_eq!(
        decide(b"localhost", b"https://evil.example", &credentials),
        Decision::Refuse(Refusal::ForeignOrigin)
    );
    for foreign in [b"".as_slice(), b"localhost:80", b"127.0.0.1", b"evil.example", b"localhost."] {
        assert_eq!(decide(foreign, PAGE, &credentials), Decision::Refuse(Refusal::ForeignHost));
    }
}

#[test]
fn the_authority_of_the_target_must_name_this_server() {
    let credentials = credentials();
    let target =
        |scheme, authority| decide(Head { scheme, authority: Some(authority), ..app_request(&credentials) });
    assert_eq!(target(Some("http"), "127.0.0.1:4242"), Decision::Serve);
    for (scheme, authority) in [
        (Some("http"), "evil.example"),
        (Some("http"), "user:password@127.0.0.1:4242"),
        (Some("https"), "127.0.0.1:4242"),
        (None, "evil.example:443"),
    ] {
        let refused = Decision::Refuse(Refusal::ForeignHost);
        assert_eq!(target(scheme, authority), refused, "{scheme:?} {authority}");
    }
}

#[test]
fn origin_must_equal_an_entry_of_the_list() {
    let credentials = credentials();
    let origin = |origin| decide(Head { origin, ..app_request(&credentials) });
    assert_eq!(origin(Field::One(PAGE)), Decision::Serve);
    assert_eq!(origin(Field::Absent), Decision::Serve, "a program, or a plain GET of a page");
    assert_eq!(origin(Field::Several), Decision::Refuse(Refusal::ForeignOrigin));
    for foreign in [
        "",
        "null",
        "*",
        "http://evil.example",
        "tauri://localhost:80",
        "tauri://localhost/",
        "tauri://localhost.evil.example",
        "TAURI://LOCALHOST",
        "tauri://localhost, http://evil.example",
        "http://127.0.0.1:4242",
    ] {
        let decision = origin(Field::One(foreign.as_bytes()));
        assert_eq!(decision, Decision::Refuse(Refusal::ForeignOrigin), "{foreign}");
    }
}

#[test]
fn a_token_is_required_if_the_server_has_one() {
    let secret = token();
    let secret = secret.reveal();
    for valid in [format!("Bearer {secret}"), format!("bearer {secret}"), format!("BEARER  {secret}")] {
        assert_eq!(decide(app_request(valid.as_bytes())), Decision::Serve, "{valid}");
    }
    for wrong in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        secret.into(),
        format!("Bearer{secret}"),
        format!("Bearer\t{secret}"),
        format!("Bearer \t{secret}"),
        format!("Basic {secret}"),
        format!("Bearer {secret} "),
        format!("Bearer {}", secret.to_uppercase()),
        format!("Bearer {}", &secret[..63]),
        format!("Bearer {secret}0"),
        format!("Bearer {secret}, Bearer {secret}"),
        format!("Bearer {}", "0".repeat(64)),
    ] {
        assert_eq!(decide(app_request(wrong.as_bytes())), Decision::Unauthorized, "{wrong}");
    }
    for authorization in [Field::Absent, Field::Several] {
        assert_eq!(decide(Head { authorization, ..app_request(b"") }), Decision::Unauthorized);
        let open = admission(None).decide(&Head { authorization, ..app_request(b"") });
        assert_eq!(open, Decision::Serve, "a server without a token serves it");
    }
}

#[test]
fn a_websocket_may_carry_the_token_as_a_subprotocol() {
    let (secret, none) = (token(), Field::Absent);
    let offered = format!("chat, pillion,pillion.bearer.{}", secret.reveal());
    let offer = |upgrade, offered: &str| {
        let subprotocols = Field::One(offered.as_bytes());
        decide(Head { upgrade, subprotocols, authorization: none, ..app_request(b"") })
    };
    assert_eq!(offer(Field::One(b"WebSocket"), &offered), Decision::Serve);
    for upgrade in [Field::Absent, Field::Several, Field::One(b"h2c"), Field::One(b"websocket, h2c")] {
        assert_eq!(offer(upgrade, &offered), Decision::Unauthorized, "{upgrade:?}");
    }
    for wrong in ["", "pillion", "pillion.bearer.", "pillion.bearer.00", secret.reveal()] {
        assert_eq!(offer(Field::One(b"websocket"), wrong), Decision::Unauthorized, "{wrong}");
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

#[test]
fn a_preflight_from_an_allowed_origin_needs_no_token() {
    let head = |method, origin, requested_method| {
        decide(Head { method, origin, requested_method, authorization: Field::Absent, ..app_request(b"") })
    };
    let (page, put) = (Field::One(PAGE), Field::One(b"PUT".as_slice()));
    assert_eq!(head("OPTIONS", page, put), Decision::Preflight);
    assert_eq!(head("OPTIONS", Field::One(b"null"), put), Decision::Refuse(Refusal::ForeignOrigin));
    assert_eq!(head("OPTIONS", Field::Absent, put), Decision::Unauthorized);
    assert_eq!(head("OPTIONS", page, Field::Absent), Decision::Unauthorized);
    assert_eq!(head("GET", page, put), Decision::Unauthorized);
    assert_eq!(head("options", page, put), Decision::Unauthorized);
}

#[test]
fn only_get_and_head_of_health_are_answered_without_a_token() {
    let head = |method, path| decide(Head { method, path, authorization: Field::Absent, ..app_request(b"") });
    assert_eq!((head("GET", "/health"), head("HEAD", "/health")), (Decision::Alive, Decision::Alive));
    assert_eq!(head("POST", "/health"), Decision::Unauthorized);
    for path in [
        "/health/",
        "//health",
        "/HEALTH",
        "/%68ealth",
        "/./health",
        "/x/../health",
        "health",
        "/health;x",
        "",
    ] {
        assert_eq!(head("GET", path), Decision::Unauthorized, "{path}");
    }
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
