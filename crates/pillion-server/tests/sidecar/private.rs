//! What a sidecar does with the token that it is given.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{Running, sidecar};

pub(crate) const TOKEN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

pub(crate) fn trials() -> Vec<Trial> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "one more is for Linux"))]
    let mut all = trials![
        a_stranger_learns_that_somebody_is_alive_and_no_more,
        a_challenge_is_answered_without_the_token,
        the_app_gets_everything,
        a_page_can_read_that_it_needs_a_token,
        a_handler_does_not_see_the_token,
        a_websocket_gets_in_by_its_subprotocol,
        a_preflight_of_the_app_is_answered_without_a_token,
        a_child_does_not_inherit_the_token,
        no_log_carries_the_token,
        a_token_that_is_none_is_refused_without_repeating_it,
        without_a_token_a_foreign_name_is_refused_all_the_same,
    ];
    #[cfg(target_os = "linux")]
    all.extend(trials![nobody_reads_the_token_in_the_process_table]);
    all
}

async fn private() -> Running {
    let nonce = "00112233445566778899aabbccddeeff";
    Running::start(sidecar().env("PILLION_TOKEN", TOKEN).env("PILLION_INSTANCE", nonce)).await
}

fn bearer() -> String {
    format!("Authorization: Bearer {TOKEN}")
}

async fn a_stranger_learns_that_somebody_is_alive_and_no_more() {
    let running = private().await;
    for line in ["GET /health", "GET /health?verbose=1"] {
        let answer = running.request(line, &[]).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n{\"status\":\"ok\"}"),
            "{answer}"
        );
        assert!(!answer.contains("pillion-proof"), "nobody asked for it: {answer}");
    }
    let answer = running.request("HEAD /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

async fn a_challenge_is_answered_without_the_token() {
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

async fn the_app_gets_everything() {
    let running = private().await;
    let answer = running.request("GET /health", &[&bearer()]).await;
    assert!(answer.contains("\"instance\":\"00112233445566778899aabbccddeeff\""), "{answer}");
    let answer = running.request("GET /nowhere", &[&bearer(), "Origin: tauri://localhost"]).await;
    assert!(answer.ends_with("the router's own fallback"), "{answer}");
}

async fn a_page_can_read_that_it_needs_a_token() {
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

async fn a_handler_does_not_see_the_token() {
    let running = private().await;
    let offer = format!("Sec-WebSocket-Protocol: pillion.bearer.{TOKEN}, chat");
    let answer = running.request("GET /headers", &[&bearer(), &offer, "X-Other: stays"]).await;
    assert!(answer.contains("stays") && answer.contains("\"chat\"") && !answer.contains(TOKEN), "{answer}");
}

async fn a_websocket_gets_in_by_its_subprotocol() {
    let running = private().await;
    for (offer, seen, chosen) in [
        ("pillion, pillion.bearer.{token}", "", Some("pillion")),
        ("chat, pillion, pillion.bearer.{token}", "chat", Some("chat")),
        ("json, pillion, pillion.bearer.{token}", "json", Some("pillion")),
        // A browser would fail this one, as the page did not offer what the sidecar could choose.
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

async fn a_preflight_of_the_app_is_answered_without_a_token() {
    let running = private().await;
    let asks = ["Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization"];
    let answer = running.request("OPTIONS /echo", &["Origin: tauri://localhost", asks[0], asks[1]]).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("access-control-allow-headers: authorization\r\n"), "{answer}");
}

async fn a_child_does_not_inherit_the_token() {
    let running = private().await;
    let answer = running.request("GET /child", &[&bearer()]).await;
    assert!(answer.contains("PILLION_INSTANCE=") && !answer.contains("PILLION_TOKEN"), "{answer}");
}

#[cfg(target_os = "linux")]
async fn nobody_reads_the_token_in_the_process_table() {
    let running = private().await;
    let read = |file| std::fs::read(format!("/proc/{}/{file}", running.pid())).unwrap();
    let environment = String::from_utf8(read("environ")).unwrap();
    assert!(environment.contains("PILLION_INSTANCE="), "{environment}");
    assert!(!environment.contains(TOKEN), "{environment}");
    assert!(!String::from_utf8(read("cmdline")).unwrap().contains(TOKEN));
}

async fn no_log_carries_the_token() {
    let running = Running::start(sidecar().env("PILLION_TOKEN", TOKEN).env("RUST_LOG", "trace")).await;
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

async fn a_token_that_is_none_is_refused_without_repeating_it() {
    let (code, stdout, stderr) = crate::support::refused(sidecar().env("PILLION_TOKEN", &TOKEN[1..])).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("PILLION_TOKEN is not") && !stderr.contains(&TOKEN[1..]), "{stderr}");
}

async fn without_a_token_a_foreign_name_is_refused_all_the_same() {
    let running = Running::start(&mut sidecar()).await;
    let mut connection = running.connect().await;
    connection.send("GET /headers HTTP/1.1\r\nHost: rebound.example\r\n\r\n").await;
    assert!(connection.head().await.starts_with("HTTP/1.1 403 "));
    let answer = running.request("GET /headers", &["Authorization: Bearer the-apps-own"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("the-apps-own"), "{answer}");
}
