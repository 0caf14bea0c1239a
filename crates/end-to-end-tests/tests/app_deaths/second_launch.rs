//! An app of which there is one instance, launched a second time: with the plugin that sees to it before and after this one.

use std::process::Stdio;

use end_to_end_tests::webview::Bus;
use integration_tests::{ReportServer, run};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::stage::{App, Stage};

const HOUR_MS: u32 = 3_600_000;

fn start(stage: &Stage, reports: &ReportServer, bus: &Bus, settings: &str) -> App {
    let port = reports.port();
    let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
    stage.start_with(reports, HOUR_MS, "exit", &steps, |command| {
        command.env("FAKE_APP_SINGLE", settings).env(Bus::VARIABLE, bus.address()).stderr(Stdio::piped());
    })
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_first_nothing_is_started() {
    run(async {
        let (stage, reports, bus) = (Stage::new(), ReportServer::new().await, Bus::start().unwrap());
        let mut first = start(&stage, &reports, &bus, "first");
        reports.wait_for("up").await;
        let mut host = reports.wait_for("host").await;

        let mut second = start(&stage, &reports, &bus, "first");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();

        host.resume().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
        // Had the second launch started its sidecar, that would have been heard before.
        reports.wait_for("bye").await;
        let mut said = String::new();
        first.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        assert!(!said.contains("register it first"), "{said}");
    });
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_last_the_first_launch_warns_and_the_second_leaves_nothing() {
    run(async {
        let (stage, reports, bus) = (Stage::new(), ReportServer::new().await, Bus::start().unwrap());
        let mut first = start(&stage, &reports, &bus, "last");
        reports.wait_for("up").await;
        let mut host = reports.wait_for("host").await;
        let mut said = BufReader::new(first.child.stderr.take().unwrap()).lines();
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("tauri-plugin-single-instance is registered after") {
                break;
            }
        }

        let mut second = start(&stage, &reports, &bus, "last");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();
        assert_eq!(first.sidecars().len(), 1, "the second launch has ended the first's sidecar");

        host.resume().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
    });
}
