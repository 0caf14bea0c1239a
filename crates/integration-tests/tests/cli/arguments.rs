//! Valid and invalid command lines.

use integration_tests::run;

use crate::support::{FinishedPillion, Pillion, expire, tree};

#[test]
fn an_invalid_command_line_is_status_2_with_help() {
    run(async {
        let tree = tree();
        for (line, helps) in [
            ("", "Usage: pillion"),
            ("run", "CMD"),
            ("run --prot assigned true", "a similar argument exists: '--port'"),
            ("run --grace soon -- true", "--grace <DURATION>"),
            ("run --ready-timeout=-1s -- true", "--ready-timeout <DURATION>"),
            ("run --health health -- true", "a path starts with /"),
            ("run --health //a{b} --wat -- true", "--wat"),
            ("run --stdin inherit --stop-stdin quit -- true", "cannot be used with '--stop-stdin"),
            ("run --port 0 -- true", "a port from 1 to 65535"),
            ("run --port 8080 --handover -- true", "cannot be used with '--handover'"),
            ("run --stdin tty -- true", "--stdin <SOURCE>"),
            ("run --ready healthy -- true", "use health, http:PATH, tcp"),
            ("run --ready line:( -- true", "is not a regular expression"),
            ("run --ready tcp --health /up -- true", "--ready http:PATH"),
            ("walk", "unrecognized subcommand 'walk'"),
        ] {
            let ended = Pillion::start(&tree, line.split_ascii_whitespace()).end().await;
            assert_eq!(ended.status, 2, "{line}: {}", ended.stderr);
            assert!(ended.stderr.contains(helps), "{line}: {}", ended.stderr);
            assert!(ended.stdout.is_empty(), "{line}");
        }
    });
}

#[test]
fn a_program_and_its_options_need_no_separator() {
    run(async {
        for line in [&["run", "sh", "-c", "exit 3"][..], &["run", "--name", "x", "--", "sh", "-c", "exit 3"]]
        {
            let tree = tree();
            let ended = Pillion::start(&tree, line).end().await;
            assert!(ended.stderr.contains("exited with code 3"), "{line:?}: {}", ended.stderr);
        }
        // Options behind the program belong to it.
        let tree = tree();
        let ended =
            Pillion::start(&tree, ["run", "sh", "-c", "echo $0 $1; exit 3", "--json", "--"]).end().await;
        assert_eq!(String::from_utf8(ended.stdout).unwrap(), "--json --\n", "{}", ended.stderr);
    });
}

#[test]
fn help_explains_the_exit_status() {
    run(async {
        let tree = tree();
        let ended = Pillion::start(&tree, ["run", "--help"]).end().await;
        let help = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status, 0);
        for part in
            ["--name", "--health", "--ready-timeout", "--grace", "--json", "125", "128+n", "--ready http:/"]
        {
            assert!(help.contains(part), "{part} is not in {help}");
        }
    });
}

#[test]
fn the_environment_is_inherited_except_for_port() {
    run(async {
        let tree = tree();
        // The tests set PORT to 1. No program could listen on it.
        let ended = Pillion::run(&tree, "", "env HTTPS_PROXY env PORT exit 3").end().await;
        let said = String::from_utf8(ended.stdout).unwrap();
        assert!(said.contains("HTTPS_PROXY=http://192.0.2.1") && said.contains("PORT is unset"), "{said}");
    });
}

#[test]
fn a_health_path_is_requested_or_rejected_at_once() {
    run(async {
        for path in ["/a{b}", "/a|b", "/a\\b", "/<>", "/\"", "/%", "/a?b=c", "//"] {
            let tree = tree();
            let options = format!("--health {path}");
            let fits =
                |ended: &FinishedPillion| ended.status == 2 || ended.stderr.contains("it answered 500");
            expire(&tree, &options, "listen 500 announce park", fits).await;
        }
    });
}
