//! `pillion run`: exit status, messages, output.

use std::fs;

use serde_json::Value;
use windows_tests::{ReportServer, run};

use crate::support::{Pillion, read_until};

#[test]
fn the_exit_status_is_that_of_the_program() {
    run(async {
        // The last one is 0xC0000005, which does not fit into the exit status of the command.
        for (code, expected) in [("0", 0), ("1", 1), ("125", 125), ("255", 255), ("-1073741819", 255)] {
            let reports = ReportServer::new().await;
            let (pillion, mut sidecar) =
                Pillion::ready(&reports, "", &format!("wait out last exit {code}")).await;
            sidecar.resume().await;
            let ended = pillion.end().await;
            assert_eq!(ended.status, expected, "{code}: {}", ended.stderr);
            assert!(ended.stdout.ends_with("last\n"), "{code}: {}", ended.stdout);
            sidecar.wait_death().await;
            if code.starts_with('-') {
                assert!(ended.stderr.contains("0xC0000005"), "{}", ended.stderr);
            }
        }
    });
}

#[test]
fn a_program_that_never_becomes_ready_is_125_with_the_reason() {
    run(async {
        for (options, steps, reason) in [
            ("", "exit 0", "exited with code 0"),
            ("", "exit 3", "exited with code 3"),
            ("", "out BACKEND_PORT:0 exit 1", "which is not a valid announcement"),
            ("--ready-timeout 200ms", "park", "announced no port within 200 ms"),
            ("--private", "serve park", "turn `private` off"),
            ("--ready notify", "park", "Linux"),
        ] {
            let reports = ReportServer::new().await;
            let ended = Pillion::run(&reports, options, steps).end().await;
            assert_eq!(ended.status, 125, "{steps}: {}", ended.stderr);
            assert!(ended.stderr.contains(reason), "{steps}: {}", ended.stderr);
        }
    });
}

#[test]
fn a_program_that_cannot_be_started_is_125_with_the_reason() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("text.exe"), "no program").unwrap();
        for (program, reason) in [
            (path("absent.exe"), "no such file: "),
            ("no-such-program-anywhere".to_owned(), "no program no-such-program-anywhere in PATH"),
            (folder.path().to_str().unwrap().to_owned(), "is a directory"),
            (path("text.exe"), "text.exe"),
        ] {
            let ended = Pillion::start(["run", "--", &program]).end().await;
            assert_eq!(ended.status, 125, "{program}");
            assert!(ended.stderr.contains(reason), "{program}: {}", ended.stderr);
        }
    });
}

#[test]
fn a_batch_file_runs_and_a_program_is_found_in_path_without_its_suffix() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let batch = folder.path().join("batch.cmd");
        fs::write(&batch, "@echo off\r\necho from the batch file\r\nexit 7\r\n").unwrap();
        let batch = batch.to_str().unwrap();
        for program in [vec![batch], vec!["cmd", "/d", "/c", "echo from the batch file& exit 7"]] {
            let arguments = ["run", "--ready", "started", "--"].into_iter().chain(program.clone());
            let ended = Pillion::start(arguments).end().await;
            assert_eq!(ended.status, 7, "{program:?}: {}", ended.stderr);
            assert!(ended.stdout.contains("from the batch file"), "{program:?}: {}", ended.stdout);
        }
    });
}

#[test]
fn a_restarted_program_is_given_up_after_four_restarts() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT sidecar serve wait exit 9";
        let mut pillion = Pillion::run(&reports, "--restart on-failure", steps);
        for _ in 0..5 {
            let mut sidecar = reports.wait_for("sidecar").await;
            read_until(pillion.0.stderr.as_mut().unwrap(), "is ready at").await;
            sidecar.resume().await;
            sidecar.wait_death().await;
        }
        let ended = pillion.end().await;
        assert_eq!(ended.status, 9, "{}", ended.stderr);
        assert!(ended.stderr.contains("given up after 4 restarts within 60 s"), "{}", ended.stderr);
    });
}

#[test]
fn each_line_of_json_is_an_event() {
    run(async {
        let reports = ReportServer::new().await;
        let mut pillion = Pillion::run(&reports, "--json", "report PORT sidecar serve wait out bye exit 3");
        let mut sidecar = reports.wait_for("sidecar").await;
        let stdout = pillion.0.stdout.as_mut().unwrap();
        let mut text = read_until(stdout, r#""state":"ready""#).await;
        sidecar.resume().await;
        let ended = pillion.end().await;
        assert_eq!((ended.status, ended.stderr.as_str()), (3, ""));
        text += &ended.stdout;
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
        assert!(of("output").iter().any(|event| event["line"] == "bye"), "{text}");
        let exit = of("exit");
        assert_eq!((exit.len(), &exit[0]["exit"]["code"]), (1, &3.into()), "{text}");
        let last = of("state").pop().unwrap();
        assert_eq!((&last["state"], &last["exit"]["code"]), (&"failed".into(), &3.into()), "{text}");
    });
}

#[test]
fn the_sidecar_of_a_terminated_command_saves_its_state() {
    run(async {
        let reports = ReportServer::new().await;
        let (pillion, mut sidecar) = Pillion::ready(&reports, "", "eof wait more saved exit 0").await;
        pillion.terminated().await;
        sidecar.resume().await;
        assert_eq!(sidecar.line().await, "saved");
        sidecar.wait_death().await;
    });
}

#[test]
fn log_files_hold_the_output() {
    run(async {
        let (reports, folder) = (ReportServer::new().await, tempfile::tempdir().unwrap());
        let options = format!("--log-dir {}", folder.path().display());
        let (pillion, mut sidecar) = Pillion::ready(&reports, &options, "lines 100 wait exit 0").await;
        sidecar.resume().await;
        assert_eq!(pillion.end().await.status, 0);
        let files = fs::read_dir(folder.path().join("windows-sidecar")).unwrap();
        let text: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        assert!(text.contains(&format!("{:099}\n", 99)), "{text}");
    });
}

#[test]
fn a_command_line_that_is_wrong_is_2_and_help_names_the_commands() {
    run(async {
        let wrong = Pillion::command("run --no-such-option").await;
        assert_eq!((wrong.status, wrong.stdout.as_str()), (2, ""), "{}", wrong.stderr);
        let help = Pillion::command("--help").await;
        for name in ["init", "run", "ps", "logs", "package", "doctor"] {
            assert!(help.stdout.contains(&format!("\n  {name}")), "{name}: {}", help.stdout);
        }
        let completions = Pillion::command("completions powershell").await;
        assert!(completions.stdout.contains("Register-ArgumentCompleter"), "{}", completions.stderr);
    });
}
