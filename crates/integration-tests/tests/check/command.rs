//! The command line of `pillion check`, its report, and interrupts.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{MUTANT, check, command, tree};

#[test]
fn help_shows_an_example_and_the_exit_status() {
    let checked = check(["--help"]);
    assert_eq!(checked.status, 0);
    for part in ["Examples:", "pillion check node dist/server.js", "Exit status: 0", "--rule", "--public"] {
        assert!(checked.stdout.contains(part), "{part} is missing: {}", checked.stdout);
    }
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_rules() {
    for arguments in
        [&["--rule", "7", "--", MUTANT][..], &["--rule", "no-such-check", "--", MUTANT], &[], &["--", ""]]
    {
        let checked = check(arguments);
        assert_eq!((checked.status, checked.stdout.as_str()), (2, ""), "{arguments:?}: {}", checked.stderr);
    }
    assert!(check(["--rule", "7", "--", MUTANT]).stderr.contains("handover-shutdown"));
}

#[test]
fn a_rule_is_chosen_by_its_number_or_by_the_name_of_a_check() {
    let checked = check(["--json", "--rule", "2", "--rule", "host", "--", MUTANT, "none"]);
    let wanted = ["health", "health-body", "health-version", "instance", "instance-returned", "host"];
    assert_eq!(checked.with_outcome("kept"), wanted, "{}", checked.stdout);
}

#[test]
fn musts_leaves_out_what_a_program_should_do() {
    let checked = check(["--json", "--musts", "--rule", "1", "--", MUTANT, "banner"]);
    assert_eq!(checked.status, 0, "{}", checked.stdout);
    assert!(!checked.with_outcome("kept").contains(&"stdout".to_owned()));
}

#[test]
fn the_report_for_people_shows_evidence_demand_and_cure_of_a_broken_rule() {
    let checked = check(["--rule", "loopback", "--rule", "health", "--", MUTANT, "every-address"]);
    assert_eq!((checked.status, checked.stderr.as_str()), (1, ""));
    for part in
        ["broken", "listens on 0.0.0.0:", "must: ", "change: Bind to the literal address", "1 kept, 1 broken"]
    {
        assert!(checked.stdout.contains(part), "{part} is missing: {}", checked.stdout);
    }
}

#[test]
fn the_report_for_programs_has_the_documented_members() {
    let checked = check(["--json", "--rule", "loopback", "--", MUTANT, "every-address"]);
    let report = checked.report();
    let members: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["command", "findings", "measurements", "private"]);
    let finding: Vec<_> = report["findings"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(finding, ["change", "check", "demand", "evidence", "level", "outcome", "rule"]);
    let measured: Vec<_> = report["measurements"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(measured, ["announcedMs", "healthyMs", "memoryBytes"]);
    let documentation =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/check.md")).unwrap();
    for member in [members, finding, measured].concat() {
        assert!(documentation.contains(&format!("`{member}`")), "docs/check.md does not name {member}");
    }
}

#[test]
fn temporary_files_of_the_program_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    // As a program of PyInstaller, which unpacks itself at each start.
    let script = "mktemp -d > /dev/null && exec \"$0\" none";
    let mut command =
        command(&tree, ["--json", "--rule", "2", "--rule", "host", "--", "sh", "-c", script, MUTANT]);
    let output = command.env("TMPDIR", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_interrupt_leaves_no_process_and_no_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        // The program says when it runs, and never announces itself.
        let script = "echo started >&3; exec sleep 1000";
        let fifo = folder.path().join("started");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let script = script.replace(">&3", &format!("> {}", fifo.display()));
        let temporary = folder.path().join("temporary");
        fs::create_dir(&temporary).unwrap();
        let mut command = command(&tree, ["--", "sh", "-c", &script]);
        command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
        let child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(fs::File::open(&fifo).unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        assert!(!tree.alive().is_empty());
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        tree.assert_dead();
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
