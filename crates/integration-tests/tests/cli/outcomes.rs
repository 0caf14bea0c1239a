//! The exit status: that of the program, 128+n for a signal, and 125 if the program never became ready.

use integration_tests::{ReportServer, run};

use crate::support::{FinishedPillion, PILLION, Pillion, expire, tree};

#[test]
fn the_exit_status_is_that_of_the_program() {
    run(async {
        for (last, expected) in [
            ("exit 0", 0),
            ("exit 1", 1),
            ("exit 125", 125),
            ("exit 255", 255),
            ("raise 9", 137),
            ("raise 6", 134),
        ] {
            for options in ["", "--json"] {
                let (tree, reports) = (tree(), ReportServer::new().await);
                let steps = format!("listen ok announce report {} up wait {last}", reports.port());
                let mut pillion = Pillion::run(&tree, options, &steps);
                let mut sidecar = reports.wait_for("up").await;
                let early = crate::streams::until_ready(&mut pillion, options).await;
                sidecar.resume().await;
                let ended = pillion.end().await;
                assert_eq!(ended.status, expected, "{last}: {early}{}", ended.stderr);
                tree.assert_dead();
            }
        }
    });
}

#[test]
fn a_program_that_never_becomes_ready_is_125_with_the_reason() {
    run(async {
        for (options, steps, reason) in [
            ("", "err oh\\sdear\\n exit 0", "exited with code 0"),
            ("", "exit 3", "exited with code 3"),
            ("", "raise 11", "was killed by SIGSEGV"),
            ("", "out BACKEND_PORT:0\\n exit 1", "which is not a valid announcement"),
            ("--ready-timeout 200ms", "park", "announced no port within 200 ms"),
            ("--ready-timeout 200ms", "park", "declare its `port` and when it is `ready`"),
            // Both fail at once: the default limit of the start is a minute.
            ("--private", "listen ok announce park", "turn `private` off"),
            ("--private", "listen 404 announce park", "turn `private` off"),
            ("--ready-timeout 1h --health /up", "listen /health announce exit 1", "exited with code 1"),
        ] {
            let tree = tree();
            let ended = Pillion::run(&tree, options, steps).end().await;
            assert_eq!(ended.status, 125, "{steps}: {}", ended.stderr);
            assert!(ended.stderr.contains(reason), "{steps}: {}", ended.stderr);
            assert!(ended.stderr.contains(", and was never ready; it used "), "{steps}: {}", ended.stderr);
            tree.assert_dead();
        }
    });
}

#[test]
fn a_program_with_an_unhealthy_answer_is_125_with_the_reason() {
    run(async {
        let tree = tree();
        let fits = |ended: &FinishedPillion| ended.status == 125 && ended.stderr.contains("it answered 500");
        expire(&tree, "", "listen 500 announce park", fits).await;
        tree.assert_dead();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_listens_elsewhere_is_125_with_the_place() {
    run(async {
        let tree = tree();
        for (options, place) in [
            ("", ", but listens on 127.0.0.1:"),
            ("--port assigned --ready tcp", "; it listens on 127.0.0.1:"),
        ] {
            let fits = |ended: &FinishedPillion| ended.status == 125 && ended.stderr.contains(place);
            expire(&tree, options, "listen ok park", fits).await;
        }
        tree.assert_dead();
    });
}

#[test]
fn a_program_that_cannot_be_started_is_125_with_the_reason() {
    run(async {
        let tree = tree();
        for (program, reason) in [
            ("/no/such/backend", "no such file: /no/such/backend"),
            ("no-such-program-anywhere", "no program no-such-program-anywhere in PATH"),
            ("/", "/ is a directory"),
            ("/etc/passwd", "is not executable"),
        ] {
            let ended = Pillion::start(&tree, ["run", "--", program]).end().await;
            assert_eq!(ended.status, 125, "{program}");
            assert!(ended.stderr.contains(reason), "{program}: {}", ended.stderr);
        }
    });
}

#[test]
fn a_restarted_program_keeps_its_port_and_the_last_exit_status_counts() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("inherit ok announce report {} up wait exit 9", reports.port());
        let mut pillion = Pillion::run(&tree, "--restart on-failure --handover", &steps);
        let mut said = String::new();
        // The limit is four restarts within a minute.
        for _ in 0..5 {
            let mut sidecar = reports.wait_for("up").await;
            said += &crate::streams::until_ready(&mut pillion, "").await;
            sidecar.resume().await;
        }
        let ended = pillion.end().await;
        assert_eq!(ended.status, 9, "{}", ended.stderr);
        assert!(ended.stderr.contains("given up after 4 restarts within 60 s"), "{}", ended.stderr);
        said += &ended.stderr;
        let urls: Vec<_> =
            said.split("is ready at ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        assert!(urls.len() == 5 && urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    });
}

/// Whether this machine lets an unprivileged process mount a file system in its own namespace; containers often do not.
fn may_mount() -> bool {
    let mut mount = std::process::Command::new("unshare");
    mount.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
    mount.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_program_on_a_noexec_mount_is_125_and_the_mount_is_named() {
    if !may_mount() {
        return eprintln!("not tested: unshare(1) is not allowed here");
    }
    run(async {
        let script = r#"mount -t tmpfs -o noexec none /mnt && cp /bin/true /mnt/program && printf '#!/bin/sh\n' > /mnt/script &&
            chmod 755 /mnt/script && exec "$@""#;
        for program in ["/mnt/program", "/mnt/script"] {
            let tree = tree();
            let mut unshare = tokio::process::Command::new("unshare");
            unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", PILLION]);
            let ended = Pillion::spawn(&tree, unshare, ["run", "--", program]).end().await;
            assert_eq!(ended.status, 125, "{}", ended.stderr);
            assert!(ended.stderr.contains("mounted noexec"), "{}", ended.stderr);
        }
    });
}

#[test]
fn without_another_thread_it_is_125_with_a_sentence() {
    run(async {
        let tree = tree();
        // The limit does not hold for root.
        let other_user = "setpriv --reuid 64999 --regid 64999 --clear-groups";
        let prefix = if rustix::process::geteuid().is_root() { other_user } else { "env" };
        let mut words = prefix.split(' ').chain(["prlimit", "--nproc=1", PILLION]);
        let mut command = tokio::process::Command::new(words.next().unwrap());
        command.args(words);
        let ended = Pillion::spawn(&tree, command, ["run", "--", "true"]).end().await;
        assert_eq!(ended.status, 125, "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot start the async runtime"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    });
}

#[test]
fn a_port_that_browsers_block_is_warned_of() {
    run(async {
        let tree = tree();
        let ended = Pillion::run(&tree, "", "out BACKEND_PORT:6000\\n exit 0").end().await;
        assert!(ended.stderr.contains("browsers and webviews refuse to call port 6000"), "{}", ended.stderr);
    });
}
