//! Placeholders stand for ports and URLs that are known when a sidecar starts.

use integration_tests::run;
use pillion::{
    Endpoint, ExecCheck, FailureKind, Fleet, FleetError, HttpCheck, Listen, Program, ReadyCheck, Spec, State,
    StopOutcome, Supervisor,
};

use crate::support::{assert_failure, line, state, tree};

#[test]
fn a_server_that_knows_nothing_of_the_protocol_gets_its_port_as_an_argument() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("hello.txt"), "hello").unwrap();
        let program = tree
            .program("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "${port}"])
            .current_dir(folder.path())
            .listen(Listen::Assigned)
            .placeholders(true);
        let spec = tree.spec(program).ready_check(ReadyCheck::Http(HttpCheck::new("/hello.txt")));
        let (supervisor, _) = Supervisor::start(spec);
        let first = supervisor.ready().await.unwrap();
        assert_eq!(supervisor.restart().await.unwrap().port, first.port);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn arguments_variables_the_directory_and_the_check_are_expanded() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let root = folder.path().display();
        let script = r#"mkdir -p "$DIR/$1" && cd "$DIR/$1" && exec "$FAKE" out "$1=$SECOND=$3\\n" listen-on SECOND ok term exit 0"#;
        let check = "test -d \"$DIR/$0\" && test $0 = \"$SECOND\"";
        let program = tree
            .program("sh")
            .args(["-c", script, "sh", "${port}", "-", "$$x"])
            .env("SECOND", "${port}")
            .env("DIR", format!("{root}"))
            .listen(Listen::Assigned)
            .placeholders(true);
        let check = ReadyCheck::Exec(ExecCheck::new("sh").args(["-c", check, "${port}"]));
        let (supervisor, mut events) = Supervisor::start(tree.spec(program).ready_check(check));
        let Endpoint { port, .. } = supervisor.ready().await.unwrap();
        let port = port.unwrap();
        line(&mut events, &format!("{port}={port}=$x")).await;
        let _ = supervisor.stop().await;

        let inside = folder.path().join(port.to_string());
        let program = tree
            .fake("exit 3")
            .current_dir(format!("{root}/${{port}}"))
            .listen(Listen::Fixed(port.get().try_into().unwrap()))
            .placeholders(true);
        let (supervisor, _) = Supervisor::start(tree.spec(program));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 3"]);
        assert!(inside.is_dir());
    });
}

#[test]
fn a_sidecar_is_told_where_its_dependency_listens() {
    run(async {
        let tree = tree();
        let db = tree.named("db", "listen ok announce term exit 0");
        let program = tree
            .fake("env DB listen ok announce term exit 0")
            .env("DB", "127.0.0.1:${sidecar.db.port} ${sidecar.db.url}/x")
            .placeholders(true);
        let api = Spec::run("api", program).depends_on(["db"]).ready_timeout(integration_tests::TEST_TIMEOUT);
        let fleet = Fleet::start([db, api]).unwrap();
        let mut events = fleet.get("api").unwrap().subscribe().unwrap();
        let port = fleet.get("db").unwrap().ready().await.unwrap().port.unwrap();
        line(&mut events, &format!("DB=127.0.0.1:{port} http://127.0.0.1:{port}/x")).await;
        fleet.get("api").unwrap().ready().await.unwrap();
        for outcome in fleet.close().await.values() {
            assert!(matches!(outcome, StopOutcome::Graceful(_)), "{outcome:?}");
        }
    });
}

#[test]
fn a_dependency_without_a_port_fails_the_start_and_is_named() {
    run(async {
        let tree = tree();
        let worker = tree.named("worker", "term exit 0").ready_check(ReadyCheck::Started);
        let program = tree.fake("park").arg("${sidecar.worker.port}").placeholders(true);
        let fleet = Fleet::start([worker, Spec::run("api", program).depends_on(["worker"])]).unwrap();
        let failure = fleet.get("api").unwrap().ready().await.unwrap_err();
        let parts = ["${sidecar.worker.port} has no value, because worker has no port now"];
        assert_failure(&failure, FailureKind::Spawn, &parts);
        drop(fleet.close().await);
    });
}

#[test]
fn a_fleet_with_an_invalid_placeholder_starts_nothing() {
    run(async {
        let tree = tree();
        let program = Program::new("park").arg("${sidecar.cache.port}").placeholders(true);
        let specs = [tree.named("db", "term exit 0"), Spec::run("api", program).depends_on(["db"])];
        let error = Fleet::start(specs).unwrap_err();
        assert!(matches!(error, FleetError::Invalid { .. }));
        let said = error.to_string();
        assert!(said.contains("\"api\": `args`: ${sidecar.cache.port} needs"), "{said}");
        assert!(said.contains("which has \"db\""), "{said}");
    });
}

#[test]
fn a_sidecar_alone_has_no_dependencies_to_name() {
    run(async {
        let tree = tree();
        let program = tree.fake("park").arg("${sidecar.db.port}").placeholders(true);
        let (supervisor, mut events) = Supervisor::start(tree.spec(program).depends_on(["db"]));
        let failure = supervisor.ready().await.unwrap_err();
        let parts = ["${sidecar.db.port} names no dependency of this sidecar; known: none"];
        assert_failure(&failure, FailureKind::Spawn, &parts);
        state(&mut events, State::Failed).await;
    });
}
