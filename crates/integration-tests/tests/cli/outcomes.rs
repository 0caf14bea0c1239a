//! The exit status: the program's own, 128+n for a signal, 125 when it never became ready.

use integration_tests::{Witness, run};

use crate::support::{Pillion, tree};

#[test]
fn the_exit_status_is_the_programs_own() {
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
                let (tree, witness) = (tree(), Witness::new().await);
                let steps = format!("listen ok announce tell {} up hear {last}", witness.port());
                let mut pillion = Pillion::run(&tree, options, &steps);
                let mut sidecar = witness.hear("up").await;
                let early = crate::streams::until_ready(&mut pillion, options).await;
                sidecar.go_on().await;
                let ended = pillion.end().await;
                assert_eq!(ended.status, expected, "{last}: {early}{}", ended.stderr);
                tree.assert_dead();
            }
        }
    });
}

#[test]
fn who_never_became_ready_is_125_with_the_reason() {
    run(async {
        for (options, steps, reason) in [
            ("", "err oh\\sdear\\n exit 0", "exited with code 0"),
            ("", "exit 3", "exited with code 3"),
            ("", "raise 11", "was killed by SIGSEGV"),
            ("", "out BACKEND_PORT:0\\n exit 1", "which is no announcement"),
            ("--ready-timeout 200ms", "park", "announced no port within 200 ms"),
            ("--ready-timeout 200ms", "listen 500 announce park", "it answered 500"),
            ("--ready-timeout 200ms --health /up", "listen /health announce exit 1", "exited with code 1"),
        ] {
            let tree = tree();
            let ended = Pillion::run(&tree, options, steps).end().await;
            assert_eq!(ended.status, 125, "{steps}: {}", ended.stderr);
            assert!(ended.stderr.contains(reason), "{steps}: {}", ended.stderr);
            tree.assert_dead();
        }
    });
}

#[test]
fn what_cannot_be_started_is_125_with_the_reason() {
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
