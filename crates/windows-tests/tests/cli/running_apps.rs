//! `pillion ps`, `status`, `logs`, `exits`, `restart` and `report`, by the control pipe. Not under Wine, which does not list the names of
//! pipes, by which these commands find apps (`FindFirstFile` fails with `ERROR_BAD_DEV_TYPE` under Wine 8 and 10).

use serde_json::Value;
use windows_tests::{ReportServer, run};

use crate::support::{Pillion, read_until};

/// What `pillion ps --json` says of the app with this process id.
async fn app_of(pid: u32) -> Option<Value> {
    let ps = Pillion::command("ps --json").await;
    assert_eq!(ps.status, 0, "{}", ps.stderr);
    let document: Value = serde_json::from_str(&ps.stdout).unwrap();
    document["apps"].as_array().unwrap().iter().find(|app| app["pid"] == pid).cloned()
}

#[test]
fn ps_lists_running_apps_and_no_app_that_has_ended() {
    run(async {
        let reports = ReportServer::new().await;
        let (first, mut sidecar) = Pillion::ready(&reports, "--name shop", "wait exit 0").await;
        let (second, other) = Pillion::ready(&reports, "--name mail --control full", "eof exit 0").await;
        let shop = app_of(first.pid()).await.unwrap();
        assert_eq!((&shop["name"], &shop["control"]), (&"pillion run".into(), &"read".into()));
        let status = &shop["sidecars"][0];
        assert_eq!((&status["sidecar"], &status["state"]), (&"shop".into(), &"ready".into()));
        assert!(status["pid"].is_u64() && status["port"].is_u64() && status["started"].is_u64(), "{status}");
        assert_eq!(app_of(second.pid()).await.unwrap()["control"], "full");

        let (ended, killed) = (first.pid(), second.pid());
        sidecar.resume().await;
        assert_eq!(first.end().await.status, 0);
        assert!(app_of(ended).await.is_none());
        second.terminated().await;
        assert!(app_of(killed).await.is_none(), "the system removes the pipe of a killed app");
        other.wait_death().await;
        let none = Pillion::command("status --app nothing-like-it").await;
        assert_eq!((none.status, none.stdout.as_str()), (1, ""));
        assert!(none.stderr.contains("runs"), "{}", none.stderr);
    });
}

#[test]
fn several_apps_with_the_same_sidecar_are_listed_instead_of_chosen() {
    run(async {
        let reports = ReportServer::new().await;
        let (one, _sidecar) = Pillion::ready(&reports, "--name db", "eof exit 0").await;
        let (other, _other) = Pillion::ready(&reports, "--name db", "eof exit 0").await;
        let several = Pillion::command("logs db").await;
        assert_eq!(several.status, 1);
        assert!(several.stderr.contains("name one with --app"), "{}", several.stderr);
        for app in [&one, &other] {
            let named = format!("process {}): db", app.pid());
            assert!(several.stderr.contains(&named), "{named}: {}", several.stderr);
        }
        let chosen = Pillion::command(&format!("status db --app {}", one.pid())).await;
        assert!(chosen.stdout.contains("db: ready at http://127.0.0.1:"), "{}", chosen.stdout);
    });
}

#[test]
fn a_restart_is_refused_unless_the_app_allows_it() {
    run(async {
        let reports = ReportServer::new().await;
        let (read, _sidecar) = Pillion::ready(&reports, "", "eof exit 0").await;
        let before = app_of(read.pid()).await.unwrap();
        let refused = Pillion::command(&format!("restart windows-sidecar --app {}", read.pid())).await;
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
        assert!(refused.stderr.contains("--control full"), "{}", refused.stderr);
        assert_eq!(before, app_of(read.pid()).await.unwrap(), "a refused restart changes nothing");
    });
}

#[test]
fn an_allowed_restart_waits_until_the_sidecar_is_ready_again() {
    run(async {
        let reports = ReportServer::new().await;
        let (app, first) = Pillion::ready(&reports, "--control full", "eof exit 0").await;
        let pid = |app: &Value| app["sidecars"][0]["pid"].as_u64().unwrap();
        let before = pid(&app_of(app.pid()).await.unwrap());
        let restarted = Pillion::command(&format!("restart windows-sidecar --app {}", app.pid())).await;
        assert_eq!(restarted.status, 0, "{}", restarted.stderr);
        assert!(restarted.stdout.contains("is ready at http://127.0.0.1:"), "{}", restarted.stdout);
        first.wait_death().await;
        reports.wait_for("sidecar").await;
        assert_ne!(before, pid(&app_of(app.pid()).await.unwrap()));
        let exits = Pillion::command(&format!("exits --json --app {}", app.pid())).await;
        let report: Value = serde_json::from_str(&exits.stdout).unwrap();
        assert_eq!((&report["pid"], &report["reason"]), (&before.into(), &"restart".into()), "{report}");
    });
}

#[test]
fn logs_follow_a_sidecar_and_say_when_its_app_was_killed() {
    run(async {
        let reports = ReportServer::new().await;
        let (app, mut sidecar) = Pillion::ready(&reports, "", "out past wait out hello eof exit 0").await;
        let pid = app.pid().to_string();
        let mut logs = Pillion::start(["logs", "--follow", "windows-sidecar", "--app", &pid]);
        let stdout = logs.0.stdout.as_mut().unwrap();
        let shown = read_until(stdout, "past\n").await;
        assert!(shown.starts_with("BACKEND_PORT:"), "{shown}");
        sidecar.resume().await;
        read_until(stdout, "hello\n").await;
        let last = Pillion::command(&format!("logs windows-sidecar --json --tail 1 --app {pid}")).await;
        let last: Value = serde_json::from_str(&last.stdout).unwrap();
        assert_eq!((&last["text"], &last["run"]), (&"hello".into(), &1.into()), "{last}");
        app.terminated().await;
        sidecar.wait_death().await;
        let ended = logs.end().await;
        assert_eq!(ended.status, 1);
        assert!(ended.stderr.contains("has ended"), "{}", ended.stderr);
    });
}

#[test]
fn a_report_of_a_running_app_is_a_file() {
    run(async {
        let (reports, folder) = (ReportServer::new().await, tempfile::tempdir().unwrap());
        let (app, _sidecar) = Pillion::ready(&reports, "", "eof exit 0").await;
        let file = folder.path().join("report.zip");
        let pid = app.pid().to_string();
        let report =
            Pillion::start(["report", "--app", &pid, "--output", file.to_str().unwrap()]).end().await;
        assert_eq!(report.status, 0, "{}", report.stderr);
        assert!(std::fs::read(&file).unwrap().starts_with(b"PK"));
    });
}
