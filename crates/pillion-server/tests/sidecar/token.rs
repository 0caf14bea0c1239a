//! The token: who has to present it, and where it never shows.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::harness::{RunningSidecar, sidecar};

pub(crate) const TOKEN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

pub(crate) fn trials() -> Vec<Trial> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "Linux has one test more"))]
    let mut all = trials![
        health_without_the_token_says_only_that_the_sidecar_is_alive,
        a_challenge_is_answered_with_the_proof,
        a_request_with_the_token_is_served,
        a_page_of_the_app_can_read_the_401,
        no_handler_sees_the_token,
        a_websocket_presents_the_token_as_a_subprotocol,
        a_preflight_of_the_app_needs_no_token,
        a_child_process_does_not_inherit_the_token,
        the_log_does_not_contain_the_token,
        an_invalid_token_is_an_error_that_does_not_show_it,
        a_foreign_host_is_refused_without_a_token_too,
    ];
    #[cfg(target_os = "linux")]
    all.extend(trials![proc_environ_does_not_show_the_token]);
    all
}

async fn private() -> RunningSidecar {
    let instance = "00112233445566778899aabbccddeeff";
    RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN).env("PILLION_INSTANCE", instance)).await
}

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}

async fn health_without_the_token_says_only_that_the_sidecar_is_alive() {
    let running = private().await;
    for line in ["GET /health", "GET /health?verbose=1"] {
        let answer = running.request(line, &[]).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n{\"status\":\"ok\"}"),
            "{answer}"
        );
        assert!(!answer.contains("pillion-proof"), "the request had no challenge: {answer}");
    }
    let answer = running.request("HEAD /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

async fn a_challenge_is_answered_with_the_proof() {
    let running = private().await;
    let challenge = "000102030405060708090a0b0c0d0e0f";
    let answer = running.request("GET /health", &[&format!("Pillion-Challenge: {challenge}")]).await;
    let token: pillion_protocol::Token = TOKEN.parse().unwrap();
    let proof = token.prove(
        pillion_protocol::ListenAddr::Tcp(running.port.try_into().unwrap()),
        pillion_protocol::Challenge::read(challenge.as_bytes()).unwrap(),
    );
    assert!(answer.contains(&format!("pillion-proof: {proof}\r\n")), "{answer}");
    for wrong in ["", "00", "000102030405060708090A0B0C0D0E0F"] {
        let answer = running.request("GET /health", &[&format!("Pillion-Challenge: {wrong}")]).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("pillion-proof"), "{answer}");
    }
}

async fn a_request_with_the_token_is_served() {
    let running = private().await;
    let answer = running.request("GET /health", &[&bearer()]).await;
    assert!(answer.contains("\"instance\":\"00112233445566778899aabbccddeeff\""), "{answer}");
    let answer = running.request("GET /nowhere", &[&bearer(), "Origin: tauri://localhost"]).await;
    assert!(answer.ends_with("the router's own fallback"), "{answer}");
}

async fn a_page_of_the_app_can_read_the_401() {
    let running = private().await;
    let answer = running.request("GET /headers", &["Origin: tauri://localhost"]).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    for header in [
        "access-control-allow-origin: tauri://localhost\r\n",
        "vary: origin\r\n",
        "www-authenticate: Bearer\r\n",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
}

async fn no_handler_sees_the_token() {
    let running = private().await;
    let offer = format!("Sec-WebSocket-Protocol: pillion.bearer.{TOKEN}, chat");
    let proxy = format!("Proxy-Authorization: Bearer {TOKEN}");
    let answer = running.request("GET /headers", &[&bearer(), &offer, &proxy, "X-Other: stays"]).await;
    assert!(answer.contains("stays") && answer.contains("\"chat\"") && !answer.contains(TOKEN), "{answer}");
    assert!(!answer.contains("authorization"), "{answer}");
}

async fn a_websocket_presents_the_token_as_a_subprotocol() {
    let running = private().await;
    for (offer, seen, chosen) in [
        ("pillion, pillion.bearer.{token}", "", Some("pillion")),
        ("chat, pillion, pillion.bearer.{token}", "chat", Some("chat")),
        ("json, pillion, pillion.bearer.{token}", "json", Some("pillion")),
        // The page did not offer `pillion`, so the sidecar chooses no subprotocol. A browser fails this connection.
        ("pillion.bearer.{token}", "", None),
    ] {
        let mut connection = running.connect().await;
        let offer = offer.replace("{token}", TOKEN);
        let upgrade = "Origin: tauri://localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let request = format!(
            "GET /socket HTTP/1.1\r\nHost: {{host}}\r\n{upgrade}Sec-WebSocket-Protocol: {offer}\r\n\r\n"
        );
        connection.send(request).await;
        let answer = connection.head().await;
        assert!(answer.starts_with("HTTP/1.1 101 ") && !answer.contains(TOKEN), "{answer}");
        assert!(answer.contains(&format!("x-offered: {seen}\r\n")), "{answer}");
        let selected = chosen.map(|chosen| format!("sec-websocket-protocol: {chosen}\r\n"));
        assert_eq!(answer.contains("sec-websocket-protocol"), selected.is_some(), "{answer}");
        assert!(answer.contains(&selected.unwrap_or_default()), "{answer}");
    }
}

async fn a_preflight_of_the_app_needs_no_token() {
    let running = private().await;
    let asks = ["Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"];
    let answer = running.request("OPTIONS /echo", &["Origin: tauri://localhost", asks[0], asks[1]]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("access-control-allow-headers: authorization\r\n"), "{answer}");
}

async fn a_child_process_does_not_inherit_the_token() {
    let running = private().await;
    let answer = running.request("GET /child", &[&bearer()]).await;
    assert!(answer.contains("PILLION_INSTANCE=") && !answer.contains("PILLION_TOKEN"), "{answer}");
}

#[cfg(target_os = "linux")]
async fn proc_environ_does_not_show_the_token() {
    let running = private().await;
    let read = |file| std::fs::read(format!("/proc/{}/{file}", running.pid())).unwrap();
    let environment = String::from_utf8(read("environ")).unwrap();
    assert!(environment.contains("PILLION_INSTANCE="), "{environment}");
    assert!(!environment.contains(TOKEN), "{environment}");
    assert!(!String::from_utf8(read("cmdline")).unwrap().contains(TOKEN));
}

async fn the_log_does_not_contain_the_token() {
    let running = RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN).env("RUST_LOG", "trace")).await;
    for headers in [[bearer(), String::new()], [bearer(), "Origin: https://evil.example".into()]] {
        let headers: Vec<_> =
            headers.iter().map(String::as_str).filter(|header| !header.is_empty()).collect();
        running.request("GET /nowhere", &headers).await;
    }
    running.signal(Signal::TERM);
    let (_, stdout, stderr) = running.ended().await;
    assert!(stderr.contains("refused a request") && !stderr.contains(TOKEN), "{stderr}");
    assert_eq!(stdout, "");
}

async fn an_invalid_token_is_an_error_that_does_not_show_it() {
    let (code, stdout, stderr) =
        crate::harness::fails_to_start(sidecar().env("PILLION_TOKEN", &TOKEN[1..])).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("PILLION_TOKEN is not") && !stderr.contains(&TOKEN[1..]), "{stderr}");
}

async fn a_foreign_host_is_refused_without_a_token_too() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let mut connection = running.connect().await;
    connection.send("GET /headers HTTP/1.1\r\nHost: rebound.example\r\n\r\n").await;
    assert!(connection.head().await.starts_with("HTTP/1.1 403 "));
    let answer = running.request("GET /headers", &["Authorization: Bearer the-apps-own"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("the-apps-own"), "{answer}");
}
