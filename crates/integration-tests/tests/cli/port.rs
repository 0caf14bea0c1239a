//! A port that `pillion run` gives the program.

use std::net::TcpListener;

use integration_tests::run;

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
        pillion.signal(rustix::process::Signal::INT);
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
