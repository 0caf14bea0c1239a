//! `--stdin`: the lifeline, or the stdin of `pillion run`.

use std::{io::Write as _, process::Stdio};

use integration_tests::{ReportServer, orphans::terminal, run};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    streams::{read_until, until_ready},
    support::{FAKE, PILLION, Pillion, tree},
};

#[test]
fn a_line_typed_at_the_terminal_reaches_the_program() {
    run(async {
        // No guard can be created where no file can be written.
        for (limit, guarded) in [("unlimited", true), ("0", false)] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let (mut keyboard, theirs) = terminal().unwrap();
            // setsid(1) makes the pseudoterminal the controlling terminal, as a terminal emulator does.
            let mut command = Command::new("setsid");
            // A shell that runs a test in the background ignores Ctrl-C, and its children inherit that.
            command.args(["--ctty", "env", "--default-signal", "sh", "-c"]);
            command.arg(format!(r#"ulimit -f {limit}; exec "$0" "$@""#)).arg(PILLION);
            let port = reports.port().to_string();
            let steps = [
                "listen", "ok", "announce", "read", "report", &port, "read", "read", "term", "out", "end\\n",
                "exit", "0",
            ];
            let options = ["run", "--stdin", "inherit", "--", FAKE];
            let mut pillion =
                Pillion::spawn_with(&tree, command, theirs.into(), options.into_iter().chain(steps));
            let said = until_ready(&mut pillion, "").await;
            assert_eq!(said.contains("no guard watches"), !guarded, "{said}");
            keyboard.write_all(b"first\n").unwrap();
            let reporter = reports.wait_for("read").await;
            keyboard.write_all(b"second\n").unwrap();
            let mut text = read_until(pillion.0.stdout.as_mut().unwrap(), "read second\n").await;
            assert!(text.contains("read first\n"), "{text}");
            // Ctrl-C reaches pillion alone, which stops the program by its signal.
            keyboard.write_all(&[3]).unwrap();
            reporter.wait_death().await;
            let ended = pillion.end().await;
            text += &String::from_utf8(ended.stdout).unwrap();
            assert_eq!((ended.status, text.ends_with("end\n")), (0, true), "{text}\n{}", ended.stderr);
            tree.assert_dead();
        }
    });
}

#[test]
fn an_inherited_pipe_is_read_to_its_end() {
    run(async {
        let tree = tree();
        let options = ["run", "--stdin", "inherit", "--", FAKE];
        let steps = ["read", "eof", "out", "end\\n", "exit", "3"];
        let mut pillion = Pillion::spawn_with(
            &tree,
            Command::new(PILLION),
            Stdio::piped(),
            options.into_iter().chain(steps),
        );
        let mut stdin = pillion.0.stdin.take().unwrap();
        stdin.write_all(b"typed\nmore\n").await.unwrap();
        drop(stdin);
        assert_eq!(pillion.end().await.stdout, b"read typed\nend\n");
    });
}

#[test]
fn by_default_nothing_that_is_typed_reaches_the_program() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port().to_string();
        let options = ["run", "--grace", "600s", "--", FAKE];
        // It survives the signal, so that it reads until its stdin ends.
        let steps = ["ignore-term", "report", &port, "up", "read", "exit", "3"];
        let mut pillion = Pillion::spawn_with(
            &tree,
            Command::new(PILLION),
            Stdio::piped(),
            options.into_iter().chain(steps),
        );
        let mut stdin = pillion.0.stdin.take().unwrap();
        stdin.write_all(b"typed\n").await.unwrap();
        reports.wait_for("up").await;
        pillion.signal(rustix::process::Signal::TERM);
        // The program reads the end of its lifeline.
        let ended = pillion.end().await;
        assert_eq!(ended.stdout, b"read \n", "{}", ended.stderr);
    });
}

#[test]
fn without_a_guard_no_sidecar_is_blamed_for_a_listener_that_it_did_not_get() {
    run(async {
        let tree = tree();
        // No guard can be created where no file can be written, and only a guard hands a listener over.
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -f 0; exec "$0" "$@""#, PILLION]);
        let steps = ["listen", "ok", "announce", "term", "exit", "0"];
        let options = ["run", "--handover", "--", FAKE];
        let arguments = options.into_iter().chain(steps);
        let mut pillion = Pillion::spawn_with(&tree, command, Stdio::piped(), arguments);
        let said = until_ready(&mut pillion, "").await;
        assert!(said.contains("no guard watches") && !said.contains("listener"), "{said}");
        pillion.signal(rustix::process::Signal::TERM);
        assert_eq!(pillion.end().await.status, 0);
    });
}
