//! `/health`, the router's own routes, and CORS.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Running, sidecar};

const PREFLIGHT: &str = "OPTIONS /echo";
const ASKED: [&str; 2] =
    ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"];

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        health_says_who_answers,
        health_without_a_host_has_no_nonce,
        health_answers_head,
        the_routers_routes_and_fallback_stay_its_own,
        each_of_tauris_origins_may_call,
        the_hosts_origins_replace_tauris,
        a_foreign_page_is_not_let_in,
        a_preflight_from_a_public_page_is_told_of_private_networks,
    ]
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn health_says_who_answers() {
    let nonce = "00112233445566778899aabbccddeeff";
    let running = Running::start(sidecar().env("PILLION_INSTANCE", nonce)).await;
    let answer = running.request("GET /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    let first = body(&answer);
    assert_eq!(first["status"], "ok");
    assert_eq!(first["app"], "Test");
    assert_eq!(first["version"], "1.2.3");
    assert_eq!(first["instance"], nonce);
    #[expect(clippy::disallowed_methods, reason = "it is what health shows")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now.abs_diff(first["timestamp"].as_u64().unwrap()) < 60_000, "milliseconds since the epoch");
    let second = body(&running.request("GET /health", &[]).await);
    let uptime = |health: &Value| health["uptime"].as_f64().unwrap();
    assert!(
        0.0 < uptime(&first) && uptime(&first) < uptime(&second) && uptime(&second) < 60.0,
        "seconds, rising"
    );
}

async fn health_without_a_host_has_no_nonce() {
    let running = Running::start(&mut sidecar()).await;
    assert_eq!(body(&running.request("GET /health", &[]).await).get("instance"), None);
}

async fn health_answers_head() {
    let running = Running::start(&mut sidecar()).await;
    let answer = running.request("HEAD /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

async fn the_routers_routes_and_fallback_stay_its_own() {
    let running = Running::start(&mut sidecar()).await;
    let answer = running.request("GET /nowhere", &["Origin: tauri://localhost"]).await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("the router's own fallback"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: tauri://localhost"),
        "the page can read it: {answer}"
    );
    assert!(running.request("POST /health", &[]).await.starts_with("HTTP/1.1 405"));
}

async fn each_of_tauris_origins_may_call() {
    let running = Running::start(&mut sidecar()).await;
    for origin in ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"] {
        let (header, allowed) =
            (format!("Origin: {origin}"), format!("access-control-allow-origin: {origin}\r\n"));
        let answer = running.request("GET /health", &[&header]).await;
        assert!(answer.contains(&allowed) && answer.contains("vary: origin"), "{answer}");
        let answer = running.request(PREFLIGHT, &[&header, ASKED[0], ASKED[1]]).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&allowed), "{answer}");
        assert!(answer.contains("access-control-allow-methods: POST\r\n"), "{answer}");
        assert!(answer.contains("access-control-allow-headers: authorization,content-type\r\n"), "{answer}");
        assert!(answer.contains("access-control-max-age: 7200\r\n"), "{answer}");
    }
}

async fn the_hosts_origins_replace_tauris() {
    let running =
        Running::start(sidecar().env("PILLION_ALLOWED_ORIGINS", "http://localhost:1420, app://x")).await;
    for (origin, allowed) in
        [("http://localhost:1420", true), ("app://x", true), ("tauri://localhost", false)]
    {
        let answer = running.request("GET /health", &[&format!("Origin: {origin}")]).await;
        let header = format!("access-control-allow-origin: {origin}\r\n");
        assert_eq!(answer.contains(&header), allowed, "{origin}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 403 "), !allowed, "{origin}: {answer}");
    }
}

async fn a_foreign_page_is_not_let_in() {
    let running = Running::start(&mut sidecar()).await;
    for origin in
        ["http://evil.example", "http://tauri.localhost.evil.example", "http://tauri.localhost:81", "null"]
    {
        for line in ["GET /health", "POST /echo", PREFLIGHT] {
            let answer = running.request(line, &[&format!("Origin: {origin}"), ASKED[0], ASKED[1]]).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
            assert!(!answer.contains("access-control-"), "{origin}: {answer}");
        }
    }
}

async fn a_preflight_from_a_public_page_is_told_of_private_networks() {
    let running = Running::start(&mut sidecar()).await;
    let asked = "Access-Control-Request-Private-Network: true";
    let preflight = async |origin| running.request(PREFLIGHT, &[origin, ASKED[0], asked]).await;
    let answer = preflight("Origin: https://tauri.localhost").await;
    assert!(answer.contains("access-control-allow-private-network: true\r\n"), "{answer}");
    let answer = preflight("Origin: https://evil.example").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("access-control"), "{answer}");
    let answer = running.request(PREFLIGHT, &["Origin: tauri://localhost", ASKED[0]]).await;
    assert!(!answer.contains("private-network"), "nobody asked: {answer}");
}
