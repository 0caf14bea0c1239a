//! Ends that the app brings about itself: it cleans up before it ends, once, and nothing is started meanwhile.

use std::time::{Duration, Instant};

use integration_tests::{ReportServer, Reporter, run};

use crate::stage::{App, Stage};

const HOUR_MS: u32 = 3_600_000;

/// Waits for everybody to be there, and answers the app's connection.
async fn gather(reports: &ReportServer) -> Reporter {
    reports.wait_for("up").await;
    reports.wait_for("host").await
}

async fn code(app: &mut App) -> Option<i32> {
    app.child.wait().await.unwrap().code()
}

/// The sidecar is asked, and does not end. An app that did not wait for it would leave it alive.
fn the_app_is_gone_only_when_its_sidecar_is(death: &str) {
    run(async {
        let (stage, reports) = (Stage::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye park");
        let grace = Duration::from_millis(400);
        let mut app = stage.start(&reports, 400, death, None, &steps);
        let mut host = gather(&reports).await;
        let told = Instant::now();
        host.resume().await;
        app.child.wait().await.unwrap();
        let (took, left) = (told.elapsed(), app.sidecars());
        assert!(left.is_empty(), "the app is gone, and left {left:?}");
        assert!(took >= grace, "the grace period was cut to {took:?}");
        reports.wait_for("bye").await.wait_death().await;
    });
}

fn the_sidecar_is_started_once_and_asked_once(death: &str) {
    run(async {
        let (stage, reports) = (Stage::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
        let mut app = stage.start(&reports, HOUR_MS, death, None, &steps);
        gather(&reports).await.resume().await;
        assert_eq!(code(&mut app).await, Some(0));
        // Waits for the end of all of them.
        drop(app);
        assert_eq!(words(&reports).await, ["bye"]);
    });
}

fn a_restarted_app_starts_its_own_when_the_first_is_gone(death: &str) {
    run(async {
        let (stage, reports) = (Stage::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
        let mut app = stage.start(&reports, HOUR_MS, death, Some("close"), &steps);
        gather(&reports).await.resume().await;
        reports.wait_for("bye").await.wait_death().await;
        assert_eq!(code(&mut app).await, Some(0));
        gather(&reports).await.resume().await;
        reports.wait_for("bye").await.wait_death().await;
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
        let reports = ReportServer::new().await;
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye wait exit 0");
        let mut app = stage.start(&reports, HOUR_MS, "latch", None, &steps);
        let mut host = gather(&reports).await;
        host.resume().await;
        let mut sidecar = reports.wait_for("bye").await;
        assert_eq!(host.next_line().await.as_deref(), Some("refused: Stopped"));
        sidecar.resume().await;
        assert_eq!(code(&mut app).await, Some(0));
        drop(app);
        assert!(words(&reports).await.is_empty(), "it was started again");
    });
}

#[test]
#[ignore = "needs fake-app and a display: cargo xtask test"]
fn a_start_that_takes_too_long_is_an_exit_like_any_other() {
    run(async {
        let stage = Stage::new();
        let reports = ReportServer::new().await;
        let steps = format!("ignore-term listen ok report {} up park", reports.port());
        // It is asked first, and does not hear.
        let mut app = stage.start(&reports, 200, "timeout", None, &steps);
        // The app may be the first to be heard.
        let (mut one, mut other) = (reports.next().await, reports.next().await);
        one.resume_if_alive().await;
        other.resume_if_alive().await;
        assert_eq!(code(&mut app).await, Some(1));
        assert!(app.sidecars().is_empty(), "{:?}", app.sidecars());
    });
}

/// What is told from here on, once all who tell are dead.
async fn words(reports: &ReportServer) -> Vec<String> {
    let mut said = Vec::new();
    let last = tokio::net::TcpStream::connect(("127.0.0.1", reports.port())).await.unwrap();
    drop(last);
    // Whoever connects without a word is the one that came last.
    while let Some(contact) = reports.next_complete().await {
        said.push(contact.text);
    }
    said
}
