//! `GET /health`, the router's own routes, and CORS.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::harness::{RunningSidecar, sidecar};

const PREFLIGHT: &str = "OPTIONS /echo";
const PREFLIGHT_HEADERS: [&str; 2] =
    ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"];

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        health_names_the_app_and_the_run,
        health_without_a_host_has_no_instance,
        health_answers_head,
        the_router_keeps_its_routes_and_fallback,
        every_tauri_origin_may_call,
        origins_from_the_host_replace_the_default,
        a_foreign_origin_is_refused_without_cors_headers,
        a_private_network_preflight_is_answered,
    ]
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

async fn health_names_the_app_and_the_run() {
    let instance = "00112233445566778899aabbccddeeff";
    let running = RunningSidecar::start(sidecar().env("PILLION_INSTANCE", instance)).await;
    let answer = running.request("GET /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    let first = body(&answer);
    assert_eq!(first["status"], "ok");
    assert_eq!(first["app"], "Test");
    assert_eq!(first["version"], "1.2.3");
    assert_eq!(first["instance"], instance);
    #[expect(clippy::disallowed_methods, reason = "health shows the wall clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(now.abs_diff(first["timestamp"].as_u64().unwrap()) < 60_000, "milliseconds since the epoch");
    let second = body(&running.request("GET /health", &[]).await);
    let uptime = |health: &Value| health["uptime"].as_f64().unwrap();
    assert!(
        0.0 < uptime(&first) && uptime(&first) < uptime(&second) && uptime(&second) < 60.0,
        "seconds, rising"
    );
}

async fn health_without_a_host_has_no_instance() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    assert_eq!(body(&running.request("GET /health", &[]).await).get("instance"), None);
}

async fn health_answers_head() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let answer = running.request("HEAD /health", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

async fn the_router_keeps_its_routes_and_fallback() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let answer = running.request("GET /nowhere", &["Origin: tauri://localhost"]).await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("the router's own fallback"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: tauri://localhost"),
        "the page can read the answer: {answer}"
    );
    assert!(running.request("POST /health", &[]).await.starts_with("HTTP/1.1 405"));
}

async fn every_tauri_origin_may_call() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    for origin in ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"] {
        let (header, allowed) =
            (format!("Origin: {origin}"), format!("access-control-allow-origin: {origin}\r\n"));
        let answer = running.request("GET /health", &[&header]).await;
        assert!(answer.contains(&allowed) && answer.contains("vary: origin"), "{answer}");
        let answer = running.request(PREFLIGHT, &[&header, PREFLIGHT_HEADERS[0], PREFLIGHT_HEADERS[1]]).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&allowed), "{answer}");
        assert!(answer.contains("access-control-allow-methods: POST\r\n"), "{answer}");
        assert!(answer.contains("access-control-allow-headers: authorization,content-type\r\n"), "{answer}");
        assert!(answer.contains("access-control-max-age: 7200\r\n"), "{answer}");
    }
}

async fn origins_from_the_host_replace_the_default() {
    let running =
        RunningSidecar::start(sidecar().env("PILLION_ALLOWED_ORIGINS", "http://localhost:1420, app://x"))
            .await;
    for (origin, allowed) in
        [("http://localhost:1420", true), ("app://x", true), ("tauri://localhost", false)]
    {
        let answer = running.request("GET /health", &[&format!("Origin: {origin}")]).await;
        let header = format!("access-control-allow-origin: {origin}\r\n");
        assert_eq!(answer.contains(&header), allowed, "{origin}: {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 403 "), !allowed, "{origin}: {answer}");
    }
}

async fn a_foreign_origin_is_refused_without_cors_headers() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    for origin in
        ["http://evil.example", "http://tauri.localhost.evil.example", "http://tauri.localhost:81", "null"]
    {
        for line in ["GET /health", "POST /echo", PREFLIGHT] {
            let answer = running
                .request(line, &[&format!("Origin: {origin}"), PREFLIGHT_HEADERS[0], PREFLIGHT_HEADERS[1]])
                .await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
            assert!(!answer.contains("access-control-"), "{origin}: {answer}");
        }
    }
}

async fn a_private_network_preflight_is_answered() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let asked = "Access-Control-Request-Private-Network: true";
    let preflight = async |origin| running.request(PREFLIGHT, &[origin, PREFLIGHT_HEADERS[0], asked]).await;
    let answer = preflight("Origin: https://tauri.localhost").await;
    assert!(answer.contains("access-control-allow-private-network: true\r\n"), "{answer}");
    let answer = preflight("Origin: https://evil.example").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("access-control"), "{answer}");
    let answer = running.request(PREFLIGHT, &["Origin: tauri://localhost", PREFLIGHT_HEADERS[0]]).await;
    assert!(!answer.contains("private-network"), "the preflight did not ask: {answer}");
}
