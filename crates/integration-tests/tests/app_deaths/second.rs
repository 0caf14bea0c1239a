//! An app of which there is one instance, launched a second time: with the plugin that sees to it before and after this one.

use std::process::Stdio;

use integration_tests::{Witness, run, webview::Bus};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::stage::{App, Stage};

const HOUR_MS: u32 = 3_600_000;

fn start(stage: &Stage, witness: &Witness, bus: &Bus, order: &str) -> App {
    let port = witness.port();
    let steps = format!("listen ok tell {port} up announce term tell {port} bye exit 0");
    stage.start_with(witness, HOUR_MS, "exit", &steps, |command| {
        command.env("FAKE_APP_SINGLE", order).env(Bus::VARIABLE, bus.address()).stderr(Stdio::piped());
    })
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_first_nothing_is_started() {
    run(async {
        let (stage, witness, bus) = (Stage::new(), Witness::new().await, Bus::start().unwrap());
        let mut first = start(&stage, &witness, &bus, "first");
        witness.hear("up").await;
        let mut host = witness.hear("host").await;

        let mut second = start(&stage, &witness, &bus, "first");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();

        host.go_on().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
        // Had the second launch started its sidecar, that would have been heard before.
        witness.hear("bye").await;
        let mut said = String::new();
        first.child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
        assert!(!said.contains("register it first"), "{said}");
    });
}

#[test]
#[ignore = "needs fake-app, a bus and a display: cargo xtask test"]
fn registered_last_the_first_launch_warns_and_the_second_leaves_nothing() {
    run(async {
        let (stage, witness, bus) = (Stage::new(), Witness::new().await, Bus::start().unwrap());
        let mut first = start(&stage, &witness, &bus, "last");
        witness.hear("up").await;
        let mut host = witness.hear("host").await;
        let mut said = BufReader::new(first.child.stderr.take().unwrap()).lines();
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("tauri-plugin-single-instance is registered after") {
                break;
            }
        }

        let mut second = start(&stage, &witness, &bus, "last");
        assert_eq!(second.child.wait().await.unwrap().code(), Some(0));
        second.tree.assert_dead();
        assert_eq!(first.sidecars().len(), 1, "the second launch has ended the first's sidecar");

        host.go_on().await;
        assert_eq!(first.child.wait().await.unwrap().code(), Some(0));
    });
}
