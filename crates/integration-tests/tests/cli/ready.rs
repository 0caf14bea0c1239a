//! `pillion run --ready`: when a program that knows nothing of Pillion is ready.

use integration_tests::run;
use rustix::process::Signal;

use crate::{
    streams::read_until,
    support::{FAKE, Pillion, tree},
};

/// Starts `fake-sidecar`, waits until it is ready, and stops it. Returns the words about its readiness.
async fn ready_and_stopped(options: &[&str], steps: &str) -> String {
    let tree = tree();
    let command = ["--", FAKE].into_iter().chain(steps.split_ascii_whitespace());
    let words = ["run"].into_iter().chain(options.iter().copied()).chain(command);
    let mut pillion = Pillion::start(&tree, words);
    let stderr = pillion.0.stderr.as_mut().unwrap();
    let mut shown = read_until(stderr, " ms").await;
    // A program that is ready once it is started may not have its signal handlers yet.
    if steps.starts_with("err up") && !shown.contains("up\n") {
        shown += &read_until(stderr, "up\n").await;
    }
    pillion.signal(Signal::INT);
    let ended = pillion.end().await;
    assert_eq!(ended.status, 0, "{options:?}: {}", ended.stderr);
    shown
}

#[test]
fn each_ready_check_makes_a_program_ready() {
    run(async {
        for (options, steps) in [
            (["--port", "assigned", "--ready", "http:/up"].as_slice(), "listen-on PORT /up term exit 0"),
            (&["--port", "assigned", "--ready", "tcp"], "listen-on PORT silent term exit 0"),
            (&["--ready", "line:it is on (?<port>[0-9]+)$"], r"listen ok err it\sis\son\s\p\n term exit 0"),
            (&["--ready", "started"], r"err up\n term exit 0"),
        ] {
            let shown = ready_and_stopped(options, steps).await;
            let has_url = shown.contains("is ready at http://127.0.0.1:");
            assert_eq!(has_url, !options.contains(&"started"), "{options:?}: {shown}");
            assert!(shown.contains("fake-sidecar is ready"), "{options:?}: {shown}");
        }
    });
}

#[test]
fn placeholders_give_the_port_to_the_program_and_to_the_command_of_the_check() {
    run(async {
        let check = r#"exec:sh -c 'test "${port}" = "$PORT" && test "$$1" = a\$b' sh 'a$$b'"#;
        let options = ["--port", "assigned", "--placeholders", "--ready", check];
        ready_and_stopped(&options, "env PORT listen-on PORT ok term exit 0").await;

        let tree = tree();
        let words =
            ["run", "--port", "4242", "--placeholders", "--", FAKE, "out", r"${port}\s$$\n", "exit", "3"];
        let ended = Pillion::start(&tree, words).end().await;
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), "4242 $\n");
        assert!(!ended.stderr.contains("--placeholders"), "{}", ended.stderr);
        let words = ["run", "--port", "4242", "--", FAKE, "out", r"${port}\n", "exit", "3"];
        let ended = Pillion::start(&tree, words).end().await;
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), "${port}\n", "without the option");
        assert!(ended.stderr.contains("--placeholders replaces it"), "{}", ended.stderr);
    });
}
