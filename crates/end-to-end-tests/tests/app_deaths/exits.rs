//! Exits that the app causes itself: it cleans up once before it ends, and starts nothing meanwhile.

use std::time::{Duration, Instant};

use integration_tests::{ReportServer, Reporter, run};

use crate::app_folder::{AppFolder, RunningApp};

const HOUR_MS: u32 = 3_600_000;

/// Waits for the reports of sidecar and app. Returns that of the app.
async fn gather(reports: &ReportServer) -> Reporter {
    reports.wait_for("up").await;
    reports.wait_for("host").await
}

async fn code(app: &mut RunningApp) -> Option<i32> {
    app.child.wait().await.unwrap().code()
}

/// The sidecar does not end on request. An app that did not wait for it would leave it alive.
fn the_app_ends_after_its_sidecar(death: &str) {
    run(async {
        let (folder, reports) = (AppFolder::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye park");
        // Long enough for the report.
        let grace = Duration::from_secs(3);
        let mut app = folder.start(&reports, 3000, death, None, &steps);
        let mut host = gather(&reports).await;
        let resumed = Instant::now();
        host.resume().await;
        app.child.wait().await.unwrap();
        let (took, left) = (resumed.elapsed(), app.sidecars());
        assert!(left.is_empty(), "the app has ended and left {left:?}");
        assert!(took >= grace, "the grace period was cut to {took:?}");
        reports.wait_for("bye").await.wait_death().await;
    });
}

fn the_sidecar_is_started_once_and_stopped_once(death: &str) {
    run(async {
        let (folder, reports) = (AppFolder::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
        let mut app = folder.start(&reports, HOUR_MS, death, None, &steps);
        gather(&reports).await.resume().await;
        assert_eq!(code(&mut app).await, Some(0));
        // The drop waits for the end of all processes.
        drop(app);
        assert_eq!(pending_reports(&reports).await, ["bye"]);
    });
}

fn a_restarted_app_starts_its_sidecar_after_the_end_of_the_first(death: &str) {
    run(async {
        let (folder, reports) = (AppFolder::new(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye exit 0");
        let mut app = folder.start(&reports, HOUR_MS, death, Some("close"), &steps);
        gather(&reports).await.resume().await;
        reports.wait_for("bye").await.wait_death().await;
        assert_eq!(code(&mut app).await, Some(0));
        gather(&reports).await.resume().await;
        reports.wait_for("bye").await.wait_death().await;
    });
}

/// Declares one test for each exit that Tauri sees, so that they fail by name.
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

each! { the_app_ends_after_its_sidecar:
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

each! { the_sidecar_is_started_once_and_stopped_once:
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

each! { a_restarted_app_starts_its_sidecar_after_the_end_of_the_first:
    restart_on_the_main_thread "restart",
    restart_on_another_thread "restart-thread",
    restart_in_every_async_worker "restart-tasks",
    request_restart "request-restart",
}

#[test]
#[ignore = "needs fake-app and a display: cargo xtask test"]
fn a_start_during_the_exit_is_refused() {
    run(async {
        let folder = AppFolder::new();
        let reports = ReportServer::new().await;
        let port = reports.port();
        let steps = format!("listen ok report {port} up announce term report {port} bye wait exit 0");
        let mut app = folder.start(&reports, HOUR_MS, "latch", None, &steps);
        let mut host = gather(&reports).await;
        host.resume().await;
        let mut sidecar = reports.wait_for("bye").await;
        assert_eq!(host.next_line().await.as_deref(), Some("refused: Stopped"));
        sidecar.resume().await;
        assert_eq!(code(&mut app).await, Some(0));
        drop(app);
        assert!(pending_reports(&reports).await.is_empty(), "the sidecar was started again");
    });
}

#[test]
#[ignore = "needs fake-app and a display: cargo xtask test"]
fn an_expired_start_ends_the_app_without_a_survivor() {
    run(async {
        let folder = AppFolder::new();
        let reports = ReportServer::new().await;
        let steps = format!("ignore-term listen ok report {} up park", reports.port());
        // The sidecar ignores the request to stop.
        let mut app = folder.start(&reports, 200, "timeout", None, &steps);
        // On a slow machine the start expires before the sidecar reports. The app waits for an answer to its own report.
        let mut reporters = Vec::new();
        let code = loop {
            tokio::select! {
                status = app.child.wait() => break status.unwrap().code(),
                reporter = reports.next_complete() => {
                    let Some(mut reporter) = reporter else { continue };
                    reporter.resume_if_alive().await;
                    reporters.push(reporter);
                }
            }
        };
        assert_eq!(code, Some(1));
        assert!(app.sidecars().is_empty(), "{:?}", app.sidecars());
    });
}

/// The reports that are still in the queue, when all reporters are dead.
async fn pending_reports(reports: &ReportServer) -> Vec<String> {
    let mut texts = Vec::new();
    let last = tokio::net::TcpStream::connect(("127.0.0.1", reports.port())).await.unwrap();
    drop(last);
    // A connection without a report is the last one.
    while let Some(contact) = reports.next_complete().await {
        texts.push(contact.text);
    }
    texts
}
