//! `--login-shell-env`: the environment of the user's login shell.

use std::{fs, os::unix::fs::PermissionsExt as _};

use integration_tests::run;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{FAKE, PILLION, Pillion, tree};

/// Runs the program with a login shell that executes `profile` first. Returns what both streams show.
async fn with_profile(profile: &str, steps: &[&str]) -> (String, String) {
    let (tree, directory) = (tree(), TempDir::new().unwrap());
    let shell = directory.path().join("shell");
    let script =
        format!("#!/bin/sh\n{profile}\nwhile [ $# -gt 1 ]; do shift; done\nexec /bin/sh -c \"$1\"\n");
    fs::write(&shell, script).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(PILLION);
    command.env("SHELL", &shell).env("OF_THE_APP", "1");
    let options = ["run", "--login-shell-env", "--", FAKE];
    let ended = Pillion::spawn(&tree, command, options.iter().chain(steps)).end().await;
    (String::from_utf8(ended.stdout).unwrap(), ended.stderr)
}

#[test]
fn the_program_has_the_variables_of_the_profile_within_the_rules() {
    run(async {
        let profile =
            "echo Welcome; export OF_THE_PROFILE='a b' PORT=99 HOSTNAME=h PILLION_TOKEN=t; unset OF_THE_APP";
        let names = [
            "OF_THE_PROFILE",
            "OF_THE_APP",
            "PORT",
            "HOSTNAME",
            "PILLION_TOKEN",
            "PILLION_RESOLVING_ENVIRONMENT",
        ];
        let steps: Vec<_> = names.iter().flat_map(|name| ["env", *name]).chain(["exit", "3"]).collect();
        let (out, err) = with_profile(profile, &steps).await;
        let expected = "OF_THE_PROFILE=a b\nOF_THE_APP is unset\nPORT is unset\nHOSTNAME is unset\n\
                        PILLION_TOKEN is unset\nPILLION_RESOLVING_ENVIRONMENT is unset\n";
        assert_eq!(out, expected, "{err}");
    });
}

#[test]
fn a_login_shell_that_fails_is_a_notice() {
    run(async {
        let (out, err) = with_profile("exit 1", &["env", "OF_THE_APP", "exit", "3"]).await;
        assert_eq!(out, "OF_THE_APP=1\n", "{err}");
        assert!(
            err.contains("did not print its environment (with -i -l -c: it exited with code 1;"),
            "{err}"
        );
    });
}
