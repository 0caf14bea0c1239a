//! A sidecar is ready only when its health check succeeds, and a failed start says why.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use integration_tests::{ReportServer, run};
use pillion::{Failure, FailureKind, Spec, State, StopOutcome, Supervisor};
use tokio::net::TcpSocket;

use crate::support::{assert_failure, expire, notice, state, tree};

async fn failure(spec: Spec) -> Failure {
    Supervisor::start(spec).0.ready().await.unwrap_err()
}

#[test]
fn a_healthy_sidecar_is_ready_at_its_own_address() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce term"));
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!(endpoint.url, Some(format!("http://127.0.0.1:{}", endpoint.port.unwrap())));
        assert_eq!(endpoint.version.as_deref(), Some("1.2.3"));
        assert_eq!(
            tree.sidecars().iter().map(|process| process.pid).collect::<Vec<_>>(),
            [endpoint.pid.unwrap()]
        );
        let status = state(&mut events, State::Ready).await;
        assert_eq!(status, supervisor.status());
        assert_eq!((status.port, status.url, status.pid), (endpoint.port, endpoint.url, endpoint.pid));
        let _ = supervisor.stop().await;
        assert_eq!((supervisor.status().port, supervisor.status().url), (None, None));
    });
}

#[test]
fn a_200_without_a_body_and_a_late_200_are_healthy() {
    run(async {
        for kind in ["bare", "204", "late"] {
            let tree = tree();
            let (supervisor, _) = Supervisor::start(tree.sidecar(&format!("listen {kind} announce term")));
            let endpoint = supervisor.ready().await.unwrap_or_else(|failure| panic!("{kind}: {failure:?}"));
            assert_eq!(endpoint.version.is_some(), kind == "late");
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn the_health_path_can_be_chosen() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen /api/up?deep=1 announce term");
        let (supervisor, _) = Supervisor::start(spec.clone().health_path("/api/up?deep=1"));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
        expire(|| spec.clone(), &["GET /health", "404", "or set `health`"]).await;
    });
}

#[test]
fn a_404_from_the_health_path_is_named_at_once_with_both_cures() {
    run(async {
        let tree = tree();
        // Within this time only the notice can come.
        let spec = tree.sidecar("listen /api/up announce term").ready_timeout(Duration::from_secs(24 * 3600));
        let (supervisor, mut events) = Supervisor::start(spec);
        let notice = notice(&mut events).await;
        assert!(notice.contains("GET /health") && notice.contains("404 Not Found"), "{notice}");
        assert!(notice.contains("let the server answer that path with a 2xx, or set `health`"), "{notice}");
        assert_eq!(supervisor.status().state, State::Starting);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_sidecar_without_a_healthy_answer_in_time_is_stopped_with_the_reason() {
    run(async {
        // The supervisor follows no redirect, and believes no other instance.
        for (kind, why) in [
            ("503", "it answered 503 Service Unavailable"),
            ("302", "it answered 302 Found"),
            ("401", "it answered 401 Unauthorized"),
            ("foreign", "another server answered"),
            ("silent", "no answer came"),
        ] {
            let tree = tree();
            let steps = format!("listen {kind} announce park");
            let mut expired = expire(|| tree.sidecar(&steps), &["announced port", "within ", why]).await;
            let down = state(&mut expired.events, State::Failed).await;
            assert_eq!(down.exit.unwrap().signal, Some(15), "{kind}: SIGTERM comes before SIGKILL");
            assert_eq!(down.failure.unwrap().kind, FailureKind::ReadyTimeout);
            tree.assert_dead();
        }
    });
}

#[test]
fn an_announced_port_without_a_listener_is_named() {
    run(async {
        let tree = tree();
        // Bound, so that no other program gets the port, but not listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let steps = format!("out BACKEND_PORT:{port}\\n park");
        expire(|| tree.sidecar(&steps), &[&port.to_string(), "nothing accepts connections there"]).await;
    });
}

#[test]
fn a_start_without_an_announcement_says_what_is_missing() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("err hello\\n report {} up park", reports.port());
        // The limit starts to run before the sidecar does. It must not expire before the output has arrived.
        for limit in [Duration::from_millis(300), Duration::from_secs(30)] {
            let failure = failure(tree.sidecar(&steps).ready_timeout(limit)).await;
            let within = if limit.as_secs() == 0 { "within 300 ms" } else { "within 30 s" };
            let parts = ["announced no port", within, "BACKEND_PORT:{port}"];
            assert_failure(&failure, FailureKind::ReadyTimeout, &parts);
            if !failure.detail.tail.is_empty() {
                return assert_eq!(failure.detail.tail, ["hello"]);
            }
        }
        panic!("the output did not arrive");
    });
}

#[test]
fn an_early_exit_is_a_failure_at_once_with_the_last_output() {
    run(async {
        for (steps, part, code, signal) in [
            ("exit 3", "exited with code 3", Some(3), None),
            ("exit 0", "exited with code 0", Some(0), None),
            ("raise 9", "was killed by SIGKILL", None, Some(9)),
            ("raise 6", "was killed by SIGABRT", None, Some(6)),
            ("raise 11", "was killed by SIGSEGV", None, Some(11)),
        ] {
            let tree = tree();
            // These limits are far beyond that of the test. A supervisor that waits for one of them fails it.
            let spec = tree.sidecar(&format!("out one\\n err two\\nthr\\xffe {steps}"));
            let failure = failure(spec.ready_timeout(Duration::MAX).grace(Duration::MAX)).await;
            assert_failure(
                &failure,
                FailureKind::ExitedEarly,
                &["sidecar", part, "before it announced a port"],
            );
            let exit = failure.detail.exit.unwrap();
            assert_eq!((exit.code, exit.signal), (code, signal), "{steps}");
            let mut tail = failure.detail.tail;
            tail.sort();
            assert_eq!(tail, ["one", "thr\u{fffd}e", "two"], "{steps}");
        }
    });
}

#[test]
fn an_exit_between_announcement_and_health_says_so() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen 503 announce report {} up wait exit 7", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        let port = crate::support::status(&mut events, |status| status.port.is_some()).await.port.unwrap();
        reports.wait_for("up").await.resume().await;
        let failure = supervisor.ready().await.unwrap_err();
        let part = format!("after it announced port {port} and before it was healthy");
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 7", &part]);
    });
}

#[test]
fn an_expired_start_kills_the_whole_group() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The sidecar must not be killed before both processes have reported: the longer limit is for busy machines.
        for limit in [2, 30].map(Duration::from_secs) {
            let steps = format!("fork ignore-term report {port} up park ; ignore-term report {port} up park");
            let spec = tree.sidecar(&steps).ready_timeout(limit).grace(Duration::from_millis(200));
            let (supervisor, _) = Supervisor::start(spec);
            let both = async { (reports.wait_for("up").await, reports.wait_for("up").await) };
            let (expired, (one, two)) = tokio::select! {
                both = both => (supervisor.ready().await, both),
                _ = supervisor.ready() => continue,
            };
            assert_failure(&expired.unwrap_err(), FailureKind::ReadyTimeout, &["announced no port"]);
            one.wait_death().await;
            return two.wait_death().await;
        }
        panic!("the processes did not report within the longer limit");
    });
}

#[test]
fn a_failed_spawn_says_why() {
    run(async {
        let tree = tree();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8], mode| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let elf = fs::read(env!("CARGO_BIN_EXE_fake-sidecar")).unwrap();
        let mut foreign = elf.clone();
        // e_machine (elf(5)): S/390. No test runs on that machine.
        foreign[18..20].copy_from_slice(&22u16.to_le_bytes());
        for (path, why) in [
            (dir.path().join("missing"), "no such file"),
            ("no-such-program-anywhere".into(), "in PATH"),
            (dir.path().to_owned(), "is a directory"),
            (file("plain", &elf, 0o644), "is not executable (mode 0644)"),
            (file("empty", b"", 0o755), "is empty"),
            (file("foreign", &foreign, 0o755), "is built for"),
            (file("script", b"#!/no/such/interpreter\n", 0o755), "its interpreter /no/such/interpreter"),
            (file("text", b"hello\n", 0o755), "neither a program for this machine nor a script"),
        ] {
            let (supervisor, mut events) = Supervisor::start(tree.spec(tree.program(&path)));
            let failure = supervisor.ready().await.unwrap_err();
            assert_failure(&failure, FailureKind::Spawn, &["sidecar could not be started", why]);
            let status = state(&mut events, State::Failed).await;
            assert_eq!((status.pid, status.exit), (None, None), "{}", path.display());
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        }
    });
}

#[test]
fn a_missing_working_directory_is_named() {
    run(async {
        let tree = tree();
        let dir = tempfile::tempdir().unwrap();
        let missing = failure(tree.spec(tree.fake("exit 0").current_dir(dir.path().join("missing")))).await;
        assert_failure(&missing, FailureKind::Spawn, &["its working directory", "missing does not exist"]);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let no_dir = failure(tree.spec(tree.fake("exit 0").current_dir(file))).await;
        assert_failure(&no_dir, FailureKind::Spawn, &["its working directory", "file is not a directory"]);
    });
}

#[test]
fn ready_answers_every_caller_repeatedly() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok report {} up wait announce term", reports.port());
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let supervisor = supervisor.clone();
                tokio::spawn(async move { supervisor.ready().await })
            })
            .collect();
        reports.wait_for("up").await.resume().await;
        let endpoint = supervisor.ready().await.unwrap();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap().as_ref(), Ok(&endpoint));
        }
        let _ = supervisor.stop().await;
        assert_failure(
            &supervisor.ready().await.unwrap_err(),
            FailureKind::Stopped,
            &["sidecar was stopped"],
        );
    });
}

/// Long before the start expires, with the limit that a start has by default.
#[cfg(target_os = "linux")]
#[test]
fn a_server_that_announces_nothing_is_told_where_it_listens_while_it_starts() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("fork listen ok park ; park").ready_timeout(Duration::from_secs(60));
        let (supervisor, mut events) = Supervisor::start(spec);
        let notice = notice(&mut events).await;
        assert!(notice.starts_with("it listens on 127.0.0.1:"), "{notice}");
        assert!(notice.contains("declare its `port`"), "{notice}");
        assert_eq!(supervisor.status().state, State::Starting);
        let _ = supervisor.stop().await;
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_starter_that_exits_is_told_which_processes_were_stopped_with_it() {
    run(async {
        // Before it is ready, and after.
        for announce in ["", "listen ok announce"] {
            // Two servers: the child and its starter report in any order.
            let (tree, children, starters) = (tree(), ReportServer::new().await, ReportServer::new().await);
            let steps = format!(
                "fork report {} child park ; {announce} report {} starter wait exit 0",
                children.port(),
                starters.port()
            );
            let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
            let child = children.wait_for("child").await;
            let mut starter = starters.wait_for("starter").await;
            let expected = if announce.is_empty() {
                State::Failed
            } else {
                supervisor.ready().await.unwrap();
                State::Stopped
            };
            starter.resume().await;
            let reason = state(&mut events, expected).await.reason.unwrap();
            assert!(reason.contains("exited with code 0"), "{reason}");
            assert!(reason.contains("processes that it had started (fake-sidecar, process "), "{reason}");
            child.wait_death().await;
            tree.assert_dead();
        }
    });
}
