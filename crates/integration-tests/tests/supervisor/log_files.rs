//! The output of a sidecar as files.

use std::{
    fs,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};

use integration_tests::{ReportServer, isolated, run};
use pillion::{LogFiles, Program, Spec, Supervisor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{first, line, notice, tree};

/// The log files of the sidecar, oldest first. None before its first line is written.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("sidecar")).into_iter().flatten();
    let files = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    files.sort_unstable();
    files
}

/// All lines of these files without their times: run, stream, level and text.
fn lines(files: &[PathBuf]) -> Vec<String> {
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(text.ends_with('\n'));
    let form = "2026-11-29T12:00:00.123Z ";
    let untimed = text.lines().map(|line| {
        let (time, rest) = line.split_at(form.len());
        assert!(time.ends_with("Z ") && time.as_bytes()[10] == b'T', "{line}");
        rest.to_owned()
    });
    untimed.collect()
}

/// The texts of the lines that the sidecar wrote to stdout.
fn stdout(files: &[PathBuf]) -> Vec<String> {
    let lines = lines(files).into_iter();
    lines.filter_map(|line| Some(line.split_once(" stdout - ")?.1.to_owned())).collect()
}

/// Waits until the sidecar has ended by itself before it was ready, and its last line is in the file.
async fn down(supervisor: &Supervisor) {
    supervisor.ready().await.unwrap_err();
    let _ = supervisor.stop().await;
}

fn logged(spec: Spec, folder: &Path) -> Spec {
    spec.log_files(LogFiles::new(folder))
}

#[test]
fn each_line_is_written_with_its_run_stream_and_level() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let steps =
            "out pl\\x1b[31main\\n err ERROR\\sodd\\n listen ok announce out \\xff\\rcut term out bye exit 0";
        let (supervisor, _) = Supervisor::start(logged(tree.sidecar(steps), folder.path()));
        supervisor.ready().await.unwrap();
        supervisor.restart().await.unwrap();
        // A stop returns once the last line is in the file.
        let _ = supervisor.stop().await;
        let found = files(folder.path());
        assert_eq!(found.len(), 1, "one file for all runs");
        let lines = lines(&found);
        for run in [1, 2] {
            let of_run: Vec<_> =
                lines.iter().filter_map(|line| line.strip_prefix(&format!("{run} "))).collect();
            assert!(of_run[0].starts_with("pillion info sidecar is starting as process "), "{lines:#?}");
            assert!(
                of_run.last().unwrap().starts_with("pillion info sidecar exited with code 0"),
                "{lines:#?}"
            );
            let stdout: Vec<_> = of_run.iter().filter_map(|line| line.strip_prefix("stdout - ")).collect();
            assert_eq!((stdout[0], stdout[2], stdout.len()), ("plain", "cutbye", 3), "{lines:#?}");
            assert_eq!(of_run.iter().filter(|line| **line == "stderr error ERROR odd").count(), 1);
        }
        // A second program, or a second sidecar of this name, writes to another file.
        let (other, _) = Supervisor::start(logged(tree.sidecar("out other exit 0"), folder.path()));
        down(&other).await;
        let both = files(folder.path());
        assert_eq!((both.len(), &both[0]), (2, &found[0]));
        assert_eq!(stdout(&both[1..]), ["other"]);
    });
}

#[test]
fn a_start_that_fails_is_in_the_file() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let spec = tree.spec(Program::new("/nonexistent/program"));
        let (supervisor, _) = Supervisor::start(logged(spec, folder.path()));
        down(&supervisor).await;
        let lines = lines(&files(folder.path()));
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with("0 pillion warn sidecar could not be started: "), "{lines:#?}");
    });
}

#[test]
fn the_token_is_not_in_the_file() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let program = tree.fake("env PILLION_TOKEN exit 3").private(true);
        let (supervisor, _) = Supervisor::start(logged(tree.spec(program), folder.path()));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.detail.tail, ["PILLION_TOKEN=[token]"], "pages see it");
        down(&supervisor).await;
        let found = files(folder.path());
        assert_eq!(stdout(&found), ["PILLION_TOKEN=[token]"]);
        // The end quotes what the sidecar wrote.
        let digits = |word: &str| word.len() >= 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let text = fs::read_to_string(&found[0]).unwrap();
        assert!(!text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(digits), "{text}");
    });
}

#[test]
fn a_token_that_is_quoted_and_cut_is_neither_in_a_file_nor_in_a_notice() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        // The sentence about the announcement quotes 80 bytes of it, and so the first 47 digits.
        let steps = "out BACKEND_PORT:38211\\s env PILLION_TOKEN exit 3";
        let program = tree.fake(steps).private(true);
        let spec = tree.spec(program).keep_exit_reports(folder.path().join("reports"));
        let (supervisor, mut events) = Supervisor::start(logged(spec, folder.path()));
        let text = notice(&mut events).await;
        assert!(text.contains("BACKEND_PORT:38211 PILLION_TOKEN=[token]\""), "{text}");
        let failure = supervisor.ready().await.unwrap_err().to_string();
        assert!(failure.contains("[token]"), "{failure}");
        down(&supervisor).await;
        let text = fs::read_to_string(&files(folder.path())[0]).unwrap();
        assert_eq!(text.matches("BACKEND_PORT:38211 PILLION_TOKEN=[token]").count(), 2, "{text}");
        let report = supervisor.exit_reports().await.pop().unwrap();
        assert!(report.message.as_ref().unwrap().contains("PILLION_TOKEN=[token]\""), "{report:?}");
    });
}

#[test]
fn a_flood_is_written_without_a_gap_and_rotated() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let limits = LogFiles::new(folder.path())
            .max_bytes(NonZeroU64::new(100_000).unwrap())
            .max_files(NonZeroU32::new(4).unwrap());
        let (supervisor, _) = Supervisor::start(tree.sidecar("lines 20000 exit 3").log_files(limits));
        down(&supervisor).await;
        let found = files(folder.path());
        assert_eq!(found.len(), 4);
        for file in &found {
            assert!(fs::metadata(file).unwrap().len() <= 100_000, "{}", file.display());
        }
        let numbers: Vec<u32> = stdout(&found)
            .iter()
            .map(|text| text.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        // Each file holds about 600 lines: the last ones, each once and in its order.
        assert!(numbers.len() > 1000, "{}", numbers.len());
        let last = 19_999;
        let wanted: Vec<_> = (last + 1 - u32::try_from(numbers.len()).unwrap()..=last).collect();
        assert_eq!(numbers, wanted);
    });
}

#[test]
fn a_file_that_is_removed_or_renamed_is_replaced_by_a_new_one() {
    run(async {
        let (tree, reports, folder) = (tree(), ReportServer::new().await, tempfile::tempdir().unwrap());
        let port = reports.port();
        let steps = format!(
            "out one\\n report {port} one wait out two\\n report {port} two wait out three\\n exit 0"
        );
        let (supervisor, mut events) = Supervisor::start(logged(tree.sidecar(&steps), folder.path()));
        for removed in ["one", "two"] {
            let mut sidecar = reports.wait_for(removed).await;
            line(&mut events, removed).await;
            until_written(folder.path(), removed).await;
            let present = files(folder.path()).pop().unwrap();
            if removed == "one" {
                fs::remove_file(present).unwrap();
            } else {
                fs::rename(&present, present.with_extension("old")).unwrap();
            }
            // The writer looks once a second.
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
            sidecar.resume().await;
        }
        down(&supervisor).await;
        assert_eq!(stdout(&files(folder.path())), ["three"]);
    });
}

/// Waits until the newest file contains this text.
async fn until_written(folder: &Path, text: &str) {
    while !files(folder).last().is_some_and(|file| fs::read_to_string(file).unwrap().contains(text)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn a_folder_that_cannot_be_written_costs_counted_lines_until_it_can() {
    run(async {
        let (tree, reports, base) = (tree(), ReportServer::new().await, tempfile::tempdir().unwrap());
        let folder = base.path().join("logs");
        fs::write(&folder, "in the way").unwrap();
        let steps =
            format!("listen ok announce out one\\n report {} up wait out two\\n term exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(logged(tree.sidecar(&steps), &folder));
        let text = notice(&mut events).await;
        assert!(text.contains("its log file cannot be written") && text.contains("logs"), "{text}");
        // The writer and the supervisor do not wait for each other: the sidecar may be ready before the notice.
        supervisor.ready().await.unwrap();
        let mut sidecar = reports.wait_for("up").await;
        fs::remove_file(&folder).unwrap();
        // It is tried again although the sidecar writes nothing.
        let text = notice(&mut events).await;
        assert!(text.contains("is written again; "), "{text}");
        sidecar.resume().await;
        line(&mut events, "two").await;
        let _ = supervisor.stop().await;
        let lines = lines(&files(&folder));
        assert!(
            lines[0].contains(" pillion warn ") && lines[0].contains(" lines are missing here: "),
            "{lines:#?}"
        );
        assert!(lines.iter().any(|line| line == "1 stdout - two"), "{lines:#?}");
    });
}

#[test]
fn a_full_disk_leaves_whole_lines_alone() {
    isolated("log_files::a_full_disk_leaves_whole_lines_alone", || {
        // A write beyond the limit fails with EFBIG, after a part of it, as on a full disk (setrlimit(2)).
        let _ignored = signal_hook::iterator::Signals::new([signal_hook::consts::SIGXFSZ]).unwrap();
        let unlimited = getrlimit(Resource::Fsize);
        let limited = Rlimit { current: Some(10_000), maximum: unlimited.maximum };
        run(async move {
            let (tree, reports, folder) = (tree(), ReportServer::new().await, tempfile::tempdir().unwrap());
            let port = reports.port();
            let steps = format!("report {port} up wait lines 1000 report {port} done wait out end\\n exit 0");
            let (supervisor, mut events) = Supervisor::start(logged(tree.sidecar(&steps), folder.path()));
            let mut sidecar = reports.wait_for("up").await;
            setrlimit(Resource::Fsize, limited).unwrap();
            sidecar.resume().await;
            let text = notice(&mut events).await;
            assert!(text.contains("its log file cannot be written"), "{text}");
            let mut sidecar = reports.wait_for("done").await;
            setrlimit(Resource::Fsize, unlimited).unwrap();
            let text = first(&mut events, |event| match event {
                pillion::SidecarEvent::Notice(text) if text.contains("written again") => Some(text),
                _ => None,
            })
            .await;
            sidecar.resume().await;
            down(&supervisor).await;
            let all = lines(&files(folder.path()));
            let missing: usize = text.split_ascii_whitespace().rev().nth(5).unwrap().parse().unwrap();
            let output =
                all.iter().filter(|line| line.contains(" stdout ") || line.contains(" stderr ")).count();
            // 1000 lines on stdout, one on stderr, the last one, and the sentence about the start, if that is missing, too.
            assert!((1002..=1003).contains(&(output + missing)), "{output} and {missing}: {all:#?}");
            let whole =
                |line: &&String| line.contains(" stdout - ") && line.len() < 100 && !line.ends_with(" end");
            assert_eq!(all.iter().find(whole), None);
        });
    });
}

#[test]
fn a_disk_that_refuses_a_new_file_costs_no_earlier_file() {
    isolated("log_files::a_disk_that_refuses_a_new_file_costs_no_earlier_file", || {
        let _ignored = signal_hook::iterator::Signals::new([signal_hook::consts::SIGXFSZ]).unwrap();
        let unlimited = getrlimit(Resource::Fsize);
        let limited = Rlimit { current: Some(10), maximum: unlimited.maximum };
        run(async move {
            let (tree, reports, folder) = (tree(), ReportServer::new().await, tempfile::tempdir().unwrap());
            let earlier = [
                "2000-01-01T00-00-00-000Z-0123456789abcdef.log",
                "2000-01-02T00-00-00-000Z-0123456789abcdef.log",
            ]
            .map(|name| folder.path().join("sidecar").join(name));
            fs::create_dir(folder.path().join("sidecar")).unwrap();
            earlier.iter().for_each(|path| fs::write(path, "earlier\n").unwrap());
            let (port, limits) =
                (reports.port(), LogFiles::new(folder.path()).max_files(NonZeroU32::new(3).unwrap()));
            let steps = format!("out one\\n report {port} one wait out two\\n report {port} two wait exit 0");
            let (_supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).log_files(limits));
            let mut sidecar = reports.wait_for("one").await;
            until_written(folder.path(), "one").await;
            // So that a new file is necessary, which the writer notices after a second.
            fs::remove_file(files(folder.path()).pop().unwrap()).unwrap();
            fs::write(
                folder.path().join("sidecar/1999-01-01T00-00-00-000Z-0123456789abcdef.log"),
                "oldest\n",
            )
            .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
            setrlimit(Resource::Fsize, limited).unwrap();
            sidecar.resume().await;
            let text = notice(&mut events).await;
            assert!(text.contains("its log file cannot be written"), "{text}");
            // The new file is not there, and the oldest one is.
            let found = files(folder.path());
            assert_eq!((found.len(), &found[1..]), (3, &earlier[..]));
            setrlimit(Resource::Fsize, unlimited).unwrap();
            let text = notice(&mut events).await;
            assert!(text.contains("is written again"), "{text}");
            let found = files(folder.path());
            assert_eq!((found.len(), &found[..2]), (3, &earlier[..]));
        });
    });
}
