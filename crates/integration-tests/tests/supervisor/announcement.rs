//! The announcement, from the bytes of the sidecar to the events of the supervisor.

use integration_tests::{ReportServer, run};
use pillion::{FailureKind, State, Supervisor};

use crate::support::{assert_failure, expire, notice, state, tree};

#[test]
fn an_announcement_counts_between_other_output() {
    run(async {
        for text in [
            r"BACKEND_PORT:\p\n",
            r"BACKEND_PORT:\p\r\n",
            r"BACKEND_PORT:\p\r\r\n",
            r"\xef\xbb\xbfBACKEND_PORT:\p\n",
            r"\x1b[32mBACKEND_PORT:\p\x1b[0m\n",
            r"progress\rBACKEND_PORT:\p\n",
            r"10%\r20%\rBACKEND_PORT:\p\r\n",
            r"starting\n\n\nBACKEND_PORT:\p\nmore\n",
            r"\xff\xfe\x00\nBACKEND_PORT:\p\n",
            r"\xff\rBACKEND_PORT:\p\n",
            r"\sBACKEND_PORT:1\nBACKEND_PORT:\p\n",
            r"backend_port:1\nBACKEND_PORT:\p\n",
            r"the\sport\sis\sBACKEND_PORT:1\nBACKEND_PORT:\p\n",
        ] {
            let tree = tree();
            let (supervisor, _) = Supervisor::start(tree.sidecar(&format!("listen ok out {text} term")));
            let endpoint = supervisor.ready().await.unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
            assert_eq!(endpoint.version.as_deref(), Some("1.2.3"), "{text}: another server answered");
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn an_announcement_may_arrive_in_parts() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let pause = format!("report {} written wait", reports.port());
        let steps = format!(
            "listen ok out B {pause} out ACKEND_PORT: {pause} out \\p {pause} out \\r {pause} out \\n term"
        );
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        for _ in 0..4 {
            let mut sidecar = reports.wait_for("written").await;
            let status = supervisor.status();
            assert_eq!((status.state, status.port), (State::Starting, None), "the newline has not come yet");
            sidecar.resume().await;
        }
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_first_announcement_holds_and_a_second_one_is_reported() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // First in the same write, then later. Each second announcement causes one notice.
        for steps in [
            "listen ok out BACKEND_PORT:\\p\\nBACKEND_PORT:1\\n".to_owned(),
            format!("listen ok announce report {} up wait out BACKEND_PORT:1\\n", reports.port()),
        ] {
            let (supervisor, mut events) = Supervisor::start(tree.sidecar(&format!("{steps} term")));
            if steps.contains("wait") {
                let mut sidecar = reports.wait_for("up").await;
                supervisor.ready().await.unwrap();
                sidecar.resume().await;
            }
            let notice = notice(&mut events).await;
            let endpoint = supervisor.ready().await.unwrap();
            let holds = format!("port {} holds while it accepts connections", endpoint.port.unwrap());
            assert_eq!(notice, format!("it announced port 1 as well; {holds}"));
            assert_eq!(supervisor.status().port, endpoint.port);
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn a_repeated_announcement_causes_no_notice() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("listen ok announce announce out BACKEND_PORT:1\\n term"));
        // The first notice is about port 1. The repetition before it caused none.
        assert!(notice(&mut events).await.starts_with("it announced port 1 as well"));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_malformed_announcement_is_reported_at_once_and_a_later_correct_one_counts() {
    run(async {
        for port in
            ["0", "65536", "+80", "\\s80", "80\\s", "080", "", "8o", "99999999999999999999", "1:2", "\\xff"]
        {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = format!(
                "listen ok out BACKEND_PORT:{port}\\n report {} malformed wait announce term",
                reports.port()
            );
            let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
            let mut sidecar = reports.wait_for("malformed").await;
            let notice = notice(&mut events).await;
            assert!(notice.contains("which is not a valid announcement"), "{port}: {notice}");
            assert_eq!(supervisor.status().state, State::Starting, "{port}");
            sidecar.resume().await;
            supervisor.ready().await.unwrap_or_else(|failure| panic!("{port}: {failure:?}"));
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn a_failed_start_names_a_malformed_announcement() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("out BACKEND_PORT:+80\\n exit 0"));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(
            &failure,
            FailureKind::ExitedEarly,
            &[
                "exited with code 0",
                "before it announced a port",
                r#"it printed "BACKEND_PORT:+80", which is no"#,
            ],
        );
    });
}

#[test]
fn a_failed_start_names_an_announcement_without_its_newline() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok out BACKEND_PORT:\\p exit 3"));
        let failure = supervisor.ready().await.unwrap_err();
        let parts = ["exited with code 3", "before it announced", "without the newline that completes it"];
        assert_failure(&failure, FailureKind::ExitedEarly, &parts);
        assert!(failure.detail.tail[0].starts_with("BACKEND_PORT:"), "{failure:?}");
    });
}

#[test]
fn an_announcement_without_its_newline_is_not_probed() {
    run(async {
        let tree = tree();
        let sidecar = || tree.sidecar("listen ok out BACKEND_PORT:\\p park");
        let mut expired = expire(sidecar, &["announced no port", "and a newline"]).await;
        assert_eq!(state(&mut expired.events, State::Failed).await.port, None);
    });
}

#[test]
fn an_announcement_on_stderr_does_not_count_and_is_named() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok err BACKEND_PORT:\\p\\n exit 1"));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(
            &failure,
            FailureKind::ExitedEarly,
            &[
                "exited with code 1",
                "before it announced a port",
                "on stderr; an announcement counts only on stdout",
            ],
        );
        assert_eq!(failure.detail.tail.len(), 1, "{failure:?}");
    });
}

#[test]
fn a_line_that_is_almost_an_announcement_is_named_with_the_reason() {
    run(async {
        for (line, reason) in [
            (r"INFO:\sBACKEND_PORT:80", "\"INFO: BACKEND_PORT:80\" with text before the announcement"),
            ("BACKEND_PORT=80", "without the colon"),
            ("backend_port:80", "in lower case"),
            (r"BACKEND_PORT:80\rready", "overwrote it after a carriage return"),
            (r"BACKEND_PORT\x1b[0m:80", "with terminal escape sequences"),
            (r"B\x00A\x00C\x00K\x00E\x00N\x00D\x00_\x00P\x00O\x00R\x00T\x00:\x008\x00", "in UTF-16"),
        ] {
            let tree = tree();
            let steps = format!("out {line}\\n exit 1");
            let failure = Supervisor::start(tree.sidecar(&steps)).0.ready().await.unwrap_err();
            let parts = ["before it announced a port; it printed", reason];
            assert_failure(&failure, FailureKind::ExitedEarly, &parts);
        }
    });
}

#[test]
fn a_line_of_any_length_does_not_hide_the_next_one() {
    run(async {
        for after in ["out \\n announce", "out \\rBACKEND_PORT:\\p\\n"] {
            let tree = tree();
            let (supervisor, _) =
                Supervisor::start(tree.sidecar(&format!("listen ok noise 3000000 {after} term")));
            supervisor.ready().await.unwrap_or_else(|failure| panic!("{after}: {failure:?}"));
            let _ = supervisor.stop().await;
        }
    });
}
