//! Our own implementations pass, and programs that are not sidecars get words that help.

use std::path::PathBuf;

use integration_tests::helper_program;

use crate::support::{MUTANT, check};

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn a_server_on_pillion_server_keeps_every_rule() {
    let upload = env!("CARGO_BIN_EXE_upload-sidecar");
    check(["--json", "--timeout", "120s", "--", upload]).assert_keeps_everything();
}

/// Neither reads a body, so that `drain` may find no request in flight.
#[test]
#[ignore = "needs the built programs: cargo xtask test"]
fn the_minimal_example_and_the_backend_of_aios_break_no_rule() {
    for name in ["minimal-sidecar", "backend"] {
        let program = helper_program(name).unwrap();
        let checked = check([
            "--json".as_ref(),
            "--timeout".as_ref(),
            "120s".as_ref(),
            "--".as_ref(),
            program.as_os_str(),
        ]);
        assert_eq!(checked.status, 0, "{name}: {}", checked.stdout);
    }
}

/// `cargo xtask test` builds the examples.
#[test]
#[ignore = "needs Node and the built examples: cargo xtask test"]
fn the_examples_on_node_keep_every_rule() {
    for (name, upload) in [("express", "/notes"), ("hono", "/")] {
        let file = repository(&format!("examples/{name}-backend/dist/index.js"));
        assert!(file.exists(), "{} is not built: use `cargo xtask test`", file.display());
        let file = file.to_str().unwrap();
        let checked = check(["--json", "--timeout", "120s", "--upload", upload, "--", "node", file]);
        assert!(checked.with_outcome("broken").is_empty(), "{name}: {}", checked.stdout);
        assert!(checked.with_outcome("notSupported").is_empty(), "{name}: {}", checked.stdout);
    }
}

#[test]
fn a_program_that_listens_without_an_announcement_is_told_where_it_listens() {
    let server = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=0, bind='127.0.0.1')";
    // The program never announces itself, however long the check waits; it has to listen within that time.
    for timeout in ["3s", "30s", "120s"] {
        let checked = check(["--public", "--json", "--timeout", timeout, "--", "python3", "-c", server]);
        assert_eq!((checked.status, checked.with_outcome("broken")), (1, vec!["announcement".to_owned()]));
        if checked.stdout.contains("the program listens on 127.0.0.1:") {
            let words = &checked.report()["findings"][0];
            assert!(
                words["change"].as_str().unwrap().contains("BACKEND_PORT")
                    || words["demand"].as_str().unwrap().contains("BACKEND_PORT")
            );
            assert!(checked.with_outcome("kept").is_empty(), "{}", checked.stdout);
            return;
        }
    }
    panic!("the check never saw the listener");
}

#[test]
fn a_program_that_exits_at_once_is_reported_with_its_status_and_its_words() {
    let checked = check(["--", "sh", "-c", "echo no database >&2; exit 3"]);
    assert_eq!(checked.status, 1);
    for part in ["exited with code 3", "no database", "not checked"] {
        assert!(checked.stdout.contains(part), "{part} is missing: {}", checked.stdout);
    }
}

/// The exit of such a program becomes known before its last output is read.
#[test]
fn a_program_that_exits_right_after_its_announcement_has_announced_itself() {
    let program = r"head -c 65000 /dev/zero | tr '\0' '\n'; echo BACKEND_PORT:1";
    let checked = check(["--json", "--rule", "no-lifeline", "--", "sh", "-c", program]);
    assert_eq!(checked.with_outcome("broken"), ["no-lifeline"], "{}", checked.stdout);
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_that_names_the_reason() {
    let checked = check(["--", "/no/such/program"]);
    assert_eq!((checked.status, checked.stdout.as_str()), (2, ""));
    assert!(checked.stderr.contains("cannot be started: No such file or directory"), "{}", checked.stderr);
}

#[test]
fn without_private_mode_the_rules_of_private_mode_are_not_checked() {
    let checked = check(["--json", "--public", "--timeout", "120s", "--", MUTANT, "none"]);
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    assert!(checked.with_outcome("broken").is_empty());
    let left_out = checked.with_outcome("notChecked");
    assert!(left_out.contains(&"token".to_owned()) && left_out.contains(&"proof".to_owned()), "{left_out:?}");
    let kept = checked.with_outcome("kept");
    for name in ["announcement", "health", "sigterm", "drain", "port-taken", "handover", "socket"] {
        assert!(kept.contains(&name.to_owned()), "{name} was not checked: {}", checked.stdout);
    }
}

/// Before it knows whether it can start.
#[test]
fn a_program_that_tells_its_progress_first_keeps_every_rule() {
    let checked = check(["--json", "--timeout", "120s", "--", MUTANT, "progress-first"]);
    checked.assert_keeps_everything();
}

/// As the library `ws` for Node does.
#[test]
fn a_program_that_chooses_the_first_subprotocol_of_the_page_keeps_every_rule() {
    let mutant = "first-subprotocol-chosen";
    let checked = check(["--json", "--timeout", "120s", "--rule", "5", "--", MUTANT, mutant]);
    checked.assert_keeps_everything();
}

/// As a server that loads a model: a host asks until health is answered with a 2xx.
#[test]
fn a_program_that_is_healthy_only_later_keeps_every_rule() {
    let checked = check(["--json", "--timeout", "120s", "--", MUTANT, "health-503-at-first"]);
    checked.assert_keeps_everything();
}

#[test]
fn a_program_that_takes_no_listener_does_not_break_a_rule_by_it() {
    let checked = check(["--json", "--timeout", "120s", "--rule", "6", "--", MUTANT, "handover-ignored"]);
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    assert!(checked.with_outcome("notSupported").contains(&"handover".to_owned()), "{}", checked.stdout);
}

#[test]
fn a_program_that_closes_websockets_at_other_paths_keeps_every_rule() {
    let checked = check(["--json", "--timeout", "120s", "--rule", "5", "--", MUTANT, "closes-websockets"]);
    checked.assert_keeps_everything();
}
