//! No survivor: however the app ends, no process of its sidecar remains, and no other process is touched.

use std::{fs, io::Write as _};

use windows_tests::{ReportServer, Reporter, run};

use crate::support::{HostProcess, SIDECAR};

/// The steps of each sidecar, and the names of the processes that report.
const KINDS: [(&str, &[&str]); 5] = [
    // Ends on request.
    ("report PORT leader serve eof exit 0", &["leader"]),
    // Ignores the request.
    ("report PORT leader serve park", &["leader"]),
    // Has a child and a grandchild that ignore the request.
    (
        "child-no-stdin child-no-stdin report PORT grandchild park ; report PORT parent park ; report PORT leader serve eof exit 0",
        &["leader", "parent", "grandchild"],
    ),
    // Has a daemon whose parent has exited.
    (
        "child-no-stdin detached report PORT daemon park ; exit 0 ; report PORT leader serve eof exit 0",
        &["leader", "daemon"],
    ),
    // A wrapper around the server.
    ("child report PORT server serve eof park ; report PORT wrapper eof exit 0", &["wrapper", "server"]),
];

async fn all(reports: &ReportServer, names: &[&str]) -> Vec<Reporter> {
    let mut contacts = Vec::new();
    for name in names {
        contacts.push(reports.wait_for(name).await);
    }
    contacts
}

/// No process of any kind of sidecar survives this death of its app.
fn assert_no_survivors(moment: &str, death: &str) {
    for (steps, names) in KINDS {
        run(async {
            let reports = ReportServer::new().await;
            let app = HostProcess::start(&reports, [moment, death], steps, None).await;
            let processes = all(&reports, names).await;
            match death {
                "park" => app.terminated().await,
                _ => app.ends_itself().await,
            }
            for process in processes {
                process.wait_death().await;
            }
        });
    }
}

#[test]
fn a_terminated_app_leaves_no_process() {
    assert_no_survivors("ready", "park");
}

#[test]
fn an_app_terminated_while_the_sidecar_starts_leaves_no_process() {
    assert_no_survivors("starting", "park");
}

#[test]
fn an_app_terminated_while_the_sidecar_stops_leaves_no_process() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT rest park ; report PORT leader serve park";
        let app = HostProcess::start(&reports, ["stopping", "park"], steps, None).await;
        let processes = all(&reports, &["leader", "rest"]).await;
        app.terminated().await;
        for process in processes {
            process.wait_death().await;
        }
    });
}

#[test]
fn an_app_that_exits_leaves_no_process() {
    assert_no_survivors("ready", "exit");
}

#[test]
fn an_app_that_aborts_leaves_no_process() {
    assert_no_survivors("ready", "abort");
}

#[test]
fn an_app_that_panics_leaves_no_process() {
    assert_no_survivors("ready", "panic");
}

#[test]
fn an_app_that_drops_its_supervisor_leaves_no_process() {
    assert_no_survivors("ready", "drop");
}

#[test]
fn an_app_that_leaks_its_supervisor_leaves_no_process() {
    assert_no_survivors("ready", "leak");
}

#[test]
fn the_rest_of_a_crashed_sidecar_dies_with_the_app() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT rest park ; report PORT leader serve wait exit 70";
        let app = HostProcess::start(&reports, ["ready", "park"], steps, None).await;
        let rest = reports.wait_for("rest").await;
        let mut leader = reports.wait_for("leader").await;
        leader.resume().await;
        leader.wait_death().await;
        app.terminated().await;
        rest.wait_death().await;
    });
}

#[test]
fn an_updater_outlives_the_app() {
    run(async {
        let reports = ReportServer::new().await;
        let updater = Some("report PORT updater wait more installed exit 0");
        let app =
            HostProcess::start(&reports, ["ready", "park"], "report PORT leader serve park", updater).await;
        let leader = reports.wait_for("leader").await;
        let mut updater = reports.wait_for("updater").await;
        app.terminated().await;
        leader.wait_death().await;
        updater.resume().await;
        assert_eq!(updater.line().await, "installed");
        updater.wait_death().await;
    });
}

#[test]
fn an_installer_that_kills_the_app_can_replace_the_program_of_its_sidecar() {
    run(async {
        let (reports, folder) = (ReportServer::new().await, tempfile::tempdir().unwrap());
        let program = folder.path().join("backend.exe");
        fs::copy(SIDECAR, &program).unwrap();
        let steps = "report PORT leader serve park";
        let app = HostProcess::start_with(&program, &reports, ["ready", "park"], steps, None).await;
        let leader = reports.wait_for("leader").await;
        // As an installer does: Windows does not let a running program be overwritten.
        let overwrite = || fs::OpenOptions::new().write(true).open(&program);
        assert!(overwrite().is_err(), "the system protects the running program");
        app.terminated().await;
        leader.wait_death().await;
        // The connection of a dying process ends a little before its use of the file.
        let mut file = loop {
            match overwrite() {
                Ok(file) => break file,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        file.write_all(b"new version").unwrap();
    });
}

#[test]
fn two_apps_do_not_disturb_each_other() {
    run(async {
        let (one, two) = (ReportServer::new().await, ReportServer::new().await);
        let steps = "report PORT leader serve eof more goodbye exit 0";
        let first = HostProcess::start(&one, ["ready", "park"], steps, None).await;
        let second = HostProcess::start(&two, ["ready", "stop"], steps, None).await;
        let (gone, mut left) = (one.wait_for("leader").await, two.wait_for("leader").await);
        first.terminated().await;
        gone.wait_death().await;
        second.ends_itself().await;
        assert_eq!(left.line().await, "goodbye");
        left.wait_death().await;
    });
}
