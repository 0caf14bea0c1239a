//! A command line that makes no sense.

use integration_tests::run;

use crate::support::{Pillion, tree};

#[test]
fn a_bad_command_line_is_status_2_with_help() {
    run(async {
        let tree = tree();
        for (line, helps) in [
            ("", "Usage: pillion"),
            ("run", "CMD"),
            ("run true", "unexpected argument 'true'"),
            ("run --grace soon -- true", "--grace <DURATION>"),
            ("run --ready-timeout=-1s -- true", "--ready-timeout <DURATION>"),
            ("run --health health -- true", "a path starts with /"),
            ("run --health //a{b} --wat -- true", "--wat"),
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
fn help_says_what_the_exit_status_means() {
    run(async {
        let tree = tree();
        let ended = Pillion::start(&tree, ["run", "--help"]).end().await;
        let help = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status, 0);
        for part in ["--name", "--health", "--ready-timeout", "--grace", "--json", "125", "128+n"] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
    });
}

#[test]
fn a_health_path_is_asked_for_or_refused_at_once() {
    run(async {
        for path in ["/a{b}", "/a|b", "/a\\b", "/<>", "/\"", "/%", "/a?b=c", "//"] {
            let tree = tree();
            let options = format!("--ready-timeout 200ms --health {path}");
            let ended = Pillion::run(&tree, &options, "listen 500 announce park").end().await;
            let fine = ended.status == 2 || ended.stderr.contains("it answered 500");
            assert!(fine, "{path}: {} {}", ended.status, ended.stderr);
        }
    });
}
