//! A single-instance app launched a second time, with the single-instance plugin registered before and after this one.

use std::process::Stdio;

use end_to_end_tests::webview::Bus;
use integration_tests::{ReportServer, run};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::app_folder::{AppFolder, RunningApp};

const HOUR_MS: u32 = 3_600_000;

fn start(folder: &AppFolder, reports: &ReportServer, bus: &Bus, order: &str) -> RunningApp {
    let port = reports.port();
    let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
    folder.start_with(reports, HOUR_MS, "exit", &steps, |command| {
        command.env("FAKE_APP_SINGLE", order).env(Bus::VARIABLE, bus.address()).stderr(Stdio::piped());
    })
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_first_the_second_launch_starts_nothing() {
    run(async {
        let (folder, reports, bus) = (AppFolder::new(), ReportServer::new().await, Bus::start().unwrap());
        let mut first = start(&folder, &reports, &bus, "first");
        reports.wait_for("up").await;
        let mut host = reports.wait_for("host").await;

        let mut second = start(&folder, &reports, &bus, "first");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();

        host.resume().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
        // A sidecar of the second launch would have reported before.
        reports.wait_for("bye").await;
        let mut stderr = String::new();
        first.child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
        assert!(!stderr.contains("register it first"), "{stderr}");
    });
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_last_the_first_launch_warns_and_the_second_leaves_no_process() {
    run(async {
        let (folder, reports, bus) = (AppFolder::new(), ReportServer::new().await, Bus::start().unwrap());
        let mut first = start(&folder, &reports, &bus, "last");
        reports.wait_for("up").await;
        let mut host = reports.wait_for("host").await;
        let mut lines = BufReader::new(first.child.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("tauri-plugin-single-instance is registered after") {
                break;
            }
        }

        let mut second = start(&folder, &reports, &bus, "last");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();
        assert_eq!(first.sidecars().len(), 1, "the second launch has ended the sidecar of the first");

        host.resume().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
    });
}
