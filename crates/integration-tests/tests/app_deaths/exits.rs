//! Ends that the app brings about itself: it cleans up before it ends, once, and nothing is started meanwhile.

use std::time::{Duration, Instant};

use integration_tests::{Contact, Witness, run};

use crate::stage::{App, Stage};

const HOUR_MS: u32 = 3_600_000;

/// Waits for everybody to be there, and answers the app's connection.
async fn gather(witness: &Witness) -> Contact {
    witness.hear("up").await;
    witness.hear("host").await
}

async fn code(app: &mut App) -> Option<i32> {
    app.child.wait().await.unwrap().code()
}

/// The sidecar is asked, and does not end. An app that did not wait for it would leave it alive.
fn the_app_is_gone_only_when_its_sidecar_is(death: &str) {
    run(async {
        let (stage, witness) = (Stage::new(), Witness::new().await);
        let port = witness.port();
        let steps = format!("listen ok tell {port} up announce term tell {port} bye park");
        let grace = Duration::from_millis(400);
        let mut app = stage.start(&witness, 400, death, None, &steps);
        let mut host = gather(&witness).await;
        let told = Instant::now();
        host.go_on().await;
        app.child.wait().await.unwrap();
        let (took, left) = (told.elapsed(), app.sidecars());
        assert!(left.is_empty(), "the app is gone, and left {left:?}");
        assert!(took >= grace, "the grace period was cut to {took:?}");
        witness.hear("bye").await.death().await;
    });
}

fn the_sidecar_is_started_once_and_asked_once(death: &str) {
    run(async {
        let (stage, witness) = (Stage::new(), Witness::new().await);
        let port = witness.port();
        let steps = format!("listen ok tell {port} up announce term tell {port} bye exit 0");
        let mut app = stage.start(&witness, HOUR_MS, death, None, &steps);
        gather(&witness).await.go_on().await;
        assert_eq!(code(&mut app).await, Some(0));
        // Waits for the end of all of them.
        drop(app);
        assert_eq!(words(&witness).await, ["bye"]);
    });
}

fn a_restarted_app_starts_its_own_when_the_first_is_gone(death: &str) {
    run(async {
        let (stage, witness) = (Stage::new(), Witness::new().await);
        let port = witness.port();
        let steps = format!("listen ok tell {port} up announce term tell {port} bye exit 0");
        let mut app = stage.start(&witness, HOUR_MS, death, Some("close"), &steps);
        gather(&witness).await.go_on().await;
        witness.hear("bye").await.death().await;
        assert_eq!(code(&mut app).await, Some(0));
        gather(&witness).await.go_on().await;
        witness.hear("bye").await.death().await;
    });
}

/// One test for each way to exit, of those that Tauri sees, so that they fail by name.
macro_rules! each {
    ($check:ident: $($name:ident $death:literal,)*) => {
        mod $check {
            $(#[test]
            #[ignore = "needs fake-app and a display: cargo xtask test"]
            fn $name() {
                super::$check($death);
            })*
        }
    };
}

each! { the_app_is_gone_only_when_its_sidecar_is:
    window_close "close",
    menu_quit "quit",
    app_exit "exit",
    app_exit_on_the_main_thread "exit-main",
    restart_on_the_main_thread "restart",
    restart_on_another_thread "restart-thread",
    restart_in_every_async_worker "restart-tasks",
    request_restart "request-restart",
    several_at_once "race",
}

each! { the_sidecar_is_started_once_and_asked_once:
    window_close "close",
    menu_quit "quit",
    app_exit "exit",
    app_exit_on_the_main_thread "exit-main",
    restart_on_the_main_thread "restart",
    restart_on_another_thread "restart-thread",
    restart_in_every_async_worker "restart-tasks",
    request_restart "request-restart",
    several_at_once "race",
}

each! { a_restarted_app_starts_its_own_when_the_first_is_gone:
    restart_on_the_main_thread "restart",
    restart_on_another_thread "restart-thread",
    restart_in_every_async_worker "restart-tasks",
    request_restart "request-restart",
}

#[test]
#[ignore = "needs fake-app and a display: cargo xtask test"]
fn a_start_during_the_exit_is_refused() {
    run(async {
        let stage = Stage::new();
        let witness = Witness::new().await;
        let port = witness.port();
        let steps = format!("listen ok tell {port} up announce term tell {port} bye hear exit 0");
        let mut app = stage.start(&witness, HOUR_MS, "latch", None, &steps);
        let mut host = gather(&witness).await;
        host.go_on().await;
        let mut sidecar = witness.hear("bye").await;
        assert_eq!(host.more().await.as_deref(), Some("refused: Stopped"));
        sidecar.go_on().await;
        assert_eq!(code(&mut app).await, Some(0));
        drop(app);
        assert!(words(&witness).await.is_empty(), "it was started again");
    });
}

#[test]
#[ignore = "needs fake-app and a display: cargo xtask test"]
fn a_start_that_takes_too_long_is_an_exit_like_any_other() {
    run(async {
        let stage = Stage::new();
        let witness = Witness::new().await;
        let steps = format!("deaf listen ok tell {} up park", witness.port());
        // It is asked first, and does not hear.
        let mut app = stage.start(&witness, 200, "timeout", None, &steps);
        // The app may be the first to be heard.
        let (mut one, mut other) = (witness.next().await, witness.next().await);
        one.let_go().await;
        other.let_go().await;
        assert_eq!(code(&mut app).await, Some(1));
        assert!(app.sidecars().is_empty(), "{:?}", app.sidecars());
    });
}

/// What is told from here on, once all who tell are dead.
async fn words(witness: &Witness) -> Vec<String> {
    let mut said = Vec::new();
    let last = tokio::net::TcpStream::connect(("127.0.0.1", witness.port())).await.unwrap();
    drop(last);
    // Whoever connects without a word is the one that came last.
    while let Some(contact) = witness.heard().await {
        said.push(contact.text);
    }
    said
}
