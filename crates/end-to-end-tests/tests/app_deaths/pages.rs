//! What pages learn when the app exits: their sidecars are stopping, while the app waits for them.

use end_to_end_tests::webview::{client_script, launch_fake_app_to_die};
use integration_tests::{ReportServer, helper_program, run};

const HOUR_MS: u32 = 3_600_000;

fn a_page_learns_that_its_sidecar_is_stopping(death: &str) {
    run(async {
        let (reports, page_reports) = (ReportServer::new().await, ReportServer::new().await);
        let (port, page_port) = (reports.port(), page_reports.port());
        // The sidecar stops when the test tells it to.
        let steps = format!("listen ok announce term report {port} asked wait exit 0");
        let variables = [
            ("FAKE_APP_WINDOWS", "calling".to_owned()),
            ("FAKE_APP_CSP", format!("connect-src ipc: http://ipc.localhost http://127.0.0.1:{page_port}")),
        ];
        let sidecar = helper_program("fake-sidecar").unwrap();
        let (app, dies) =
            launch_fake_app_to_die(&sidecar, &[&steps], &variables, HOUR_MS, death).await.unwrap();
        app.page().switch_to("calling").await.unwrap();
        // The page sends each state to the test. That request does not go through the app, which will be waiting.
        let watch = format!(
            "{}
            pillion.sidecar('sidecar').watch(({{ state }}) => {{
                fetch(`http://127.0.0.1:{page_port}/${{state}}`, {{ mode: 'no-cors' }}).catch(() => {{}});
            }});",
            client_script().unwrap()
        );
        app.page().execute(&watch).await.unwrap();
        wait_for_state(&page_reports, "ready").await;

        drop(dies);
        let mut sidecar = reports.wait_for("asked").await;
        wait_for_state(&page_reports, "stopping").await;
        sidecar.resume().await;
        sidecar.wait_death().await;
        let left = app.end().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Waits until a page has reported this state. `WebKit` may send a request that was not answered again.
async fn wait_for_state(reports: &ReportServer, state: &str) {
    let request = format!("GET /{state} ");
    while !reports.next().await.text.starts_with(&request) {}
}

/// Declares one test for each exit at which pages still exist.
macro_rules! each {
    ($($name:ident $death:literal,)*) => {
        mod a_page_learns_that_its_sidecar_is_stopping {
            $(#[test]
            #[ignore = "needs fake-app and a display: cargo xtask test"]
            fn $name() {
                super::a_page_learns_that_its_sidecar_is_stopping($death);
            })*
        }
    };
}

each! {
    menu_quit "quit",
    app_exit "exit",
    app_exit_on_the_main_thread "exit-main",
    restart_on_the_main_thread "restart",
    restart_on_another_thread "restart-thread",
    request_restart "request-restart",
}
