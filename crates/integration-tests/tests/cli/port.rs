//! A port that `pillion run` gives the program.

use std::net::TcpListener;

use integration_tests::{ReportServer, run};
use rustix::process::Signal;

use crate::{
    streams::read_until,
    support::{Pillion, tree},
};

#[test]
fn an_assigned_port_reaches_the_program_as_port_or_under_another_name() {
    run(async {
        for (options, name) in [("--port assigned", "PORT"), ("--port assigned --port-env MINE", "MINE")] {
            let tree = tree();
            let steps = format!("env {name} listen-on {name} ok exit 3");
            let ended = Pillion::run(&tree, options, &steps).end().await;
            let said = String::from_utf8(ended.stdout).unwrap();
            let port = said.trim_end().strip_prefix(&format!("{name}=")).unwrap();
            assert!(port.parse::<u16>().unwrap() > 1, "{said}");
        }
    });
}

#[test]
fn a_program_with_a_fixed_port_is_ready_without_an_announcement() {
    run(async {
        let (tree, free) = (tree(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = free.local_addr().unwrap().port();
        drop(free);
        let options = format!("--port {port} --port-env MINE");
        let mut pillion = Pillion::run(&tree, &options, "listen-on MINE ok term exit 0");
        let ready = format!("is ready at http://127.0.0.1:{port} after");
        let shown = read_until(pillion.0.stderr.as_mut().unwrap(), &ready).await;
        assert!(shown.contains("is starting as process"), "{shown}");
        pillion.signal(Signal::INT);
        assert_eq!(pillion.end().await.status, 0);
    });
}

#[test]
fn a_taken_port_is_125_and_names_the_owner() {
    run(async {
        let (tree, taken) = (tree(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = taken.local_addr().unwrap().port();
        let ended = Pillion::run(&tree, &format!("--port {port}"), "park").end().await;
        assert_eq!(ended.status, 125, "{}", ended.stderr);
        let owner = format!("process {}", std::process::id());
        assert!(ended.stderr.contains("is taken by") && ended.stderr.contains(&owner), "{}", ended.stderr);
    });
}

/// As after a crash, or when `tauri dev` restarts the app: the guard of the first start is still stopping the server.
#[cfg(target_os = "linux")]
#[test]
fn a_second_start_waits_for_its_port_while_the_guard_of_a_killed_app_stops_the_server_there() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let options = format!("--port {port} --port-env MINE --grace 1h");
        let server =
            format!("listen-on MINE ok report {} up term report {0} asked wait exit 0", reports.port());
        let first = Pillion::run(&tree, &options, &server);
        let _running = reports.wait_for("up").await;
        first.signal(Signal::KILL);
        let mut ending = reports.wait_for("asked").await;
        let mut second = Pillion::run(&tree, &options, "listen-on MINE ok term exit 0");
        let shown = read_until(second.0.stderr.as_mut().unwrap(), &format!("waits for port {port}")).await;
        assert!(!shown.contains("is taken by"), "{shown}");
        ending.resume().await;
        read_until(second.0.stderr.as_mut().unwrap(), &format!("is ready at http://127.0.0.1:{port} after"))
            .await;
        second.signal(Signal::INT);
        assert_eq!(second.end().await.status, 0);
    });
}
