//! An app in a sandbox like that of Flatpak. The kernel ends all processes of such a sandbox with its first one, bubblewrap's, which waits for
//! the others after the app's end.

use std::{path::Path, process::Stdio, time::Instant};

use integration_tests::{
    ProcessTree, ReportServer, TEST_TIMEOUT, TestMarker, run,
    sandbox::{flatpak, may},
};
use rustix::process::Signal;
use tokio::process::Command;

const PILLION: &str = env!("CARGO_BIN_EXE_pillion-under-test");
const FAKE: &str = env!("CARGO_BIN_EXE_fake-sidecar");

/// The sandbox, if this machine can make it.
fn sandbox() -> Option<Vec<String>> {
    let sandbox = flatpak(Path::new(PILLION).parent().unwrap());
    let words: Vec<_> = sandbox.iter().map(String::as_str).chain(["true"]).collect();
    may(&words).then_some(sandbox)
}

/// `pillion run` in the sandbox, on a sidecar with these steps.
fn start(sandbox: &[String], tree: &ProcessTree, steps: &str) -> tokio::process::Child {
    let mut command = Command::new(&sandbox[0]);
    command.args(&sandbox[1..]).args([PILLION, "run", "--grace", "1h", "--", FAKE]).args(steps.split(' '));
    command.env(TestMarker::VARIABLE, tree.marker()).stdin(Stdio::null());
    #[expect(clippy::disallowed_methods, reason = "the tree watches over it")]
    command.spawn().unwrap()
}

/// Sends a signal to the app in the sandbox. Outside, its process has another number.
fn signal(tree: &ProcessTree, signal: Signal) {
    let app = tree.alive().into_iter().find(|process| process.runs("pillion-under-test"));
    app.unwrap().signal(signal).unwrap();
}

#[test]
fn the_sidecar_of_an_app_that_was_killed_in_a_sandbox_saves_its_state_and_leaves_nothing() {
    let Some(sandbox) = sandbox() else { return };
    run(async {
        // A daemon outlives the sidecar's first process, so that the full guard has work, too.
        for daemon in ["", "daemon park ; "] {
            let (tree, reports) = (ProcessTree::new(FAKE), ReportServer::new().await);
            let port = reports.port();
            let steps = format!(
                "{daemon}listen ok announce report {port} up term report {port} checkpoint wait report {port} saved exit 0"
            );
            let mut bubblewrap = start(&sandbox, &tree, &steps);
            reports.wait_for("up").await;
            signal(&tree, Signal::KILL);
            let mut sidecar = reports.wait_for("checkpoint").await;
            sidecar.resume().await;
            reports.wait_for("saved").await;
            sidecar.wait_death().await;
            bubblewrap.wait().await.unwrap();
            let deadline = Instant::now() + TEST_TIMEOUT / 2;
            for process in tree.alive() {
                assert!(process.ends_before(deadline), "{process:?} is left in the sandbox");
            }
        }
    });
}

#[test]
fn a_stop_in_a_sandbox_is_graceful() {
    let Some(sandbox) = sandbox() else { return };
    run(async {
        let (tree, reports) = (ProcessTree::new(FAKE), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok announce report {port} up term report {port} bye exit 7");
        let mut bubblewrap = start(&sandbox, &tree, &steps);
        reports.wait_for("up").await;
        signal(&tree, Signal::TERM);
        reports.wait_for("bye").await.wait_death().await;
        // Never ready, or ready: the signal may come before the first answer.
        let code = bubblewrap.wait().await.unwrap().code();
        assert!([Some(7), Some(125)].contains(&code), "{code:?}");
        let deadline = Instant::now() + TEST_TIMEOUT / 2;
        assert!(tree.alive().iter().all(|process| process.ends_before(deadline)));
    });
}
