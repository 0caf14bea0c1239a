//! `GET /health`, the router's own routes, and CORS.

use libtest_mimic::Trial;
use serde_json::Value;

use crate::harness::{RunningSidecar, sidecar};

pub(crate) fn trials() -> Vec<Trial> {
    trials![health_names_the_app_and_the_run, the_router_keeps_its_routes_and_fallback,]
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
    assert_eq!(first["pillion_protocol"], "1");
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
