//! The token: who has to present it, and where it never shows.

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::harness::{RunningSidecar, sidecar};

pub(crate) const TOKEN: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2";

pub(crate) fn trials() -> Vec<Trial> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "Linux has one test more"))]
    let mut all = trials![
        no_handler_sees_the_token,
        a_child_process_does_not_inherit_the_token,
        the_log_does_not_contain_the_token,
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

async fn no_handler_sees_the_token() {
    let running = private().await;
    let offer = format!("Sec-WebSocket-Protocol: pillion.bearer.{TOKEN}, chat");
    let proxy = format!("Proxy-Authorization: Bearer {TOKEN}");
    let answer = running.request("GET /headers", &[&bearer(), &offer, &proxy, "X-Other: stays"]).await;
    assert!(answer.contains("stays") && answer.contains("\"chat\"") && !answer.contains(TOKEN), "{answer}");
    assert!(!answer.contains("authorization"), "{answer}");
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
