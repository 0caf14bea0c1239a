//! The log file of a sidecar whose app is killed.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
};

use integration_tests::{ReportServer, run};

use crate::support::{FakeHost, HOUR, fake_sidecar};

/// A host with log files, whose sidecar runs these steps.
async fn host(reports: &ReportServer, folder: &Path, steps: &str) -> FakeHost {
    let variable = Some(("FAKE_HOST_LOGS", folder.to_str().unwrap().to_owned()));
    let host = FakeHost::start_with(reports, HOUR, variable, &fake_sidecar(steps));
    reports.wait_for("host").await;
    host
}

/// Waits until the guard has written all that it writes: it holds the lock of the run's file until it ends.
async fn guard_ended(folder: &Path) {
    let runs = fs::read_dir(folder.join("reports/sidecar")).unwrap().map(|entry| entry.unwrap().path());
    let run = runs.into_iter().find(|path| path.extension().is_some_and(|it| it == "run")).unwrap();
    tokio::task::spawn_blocking(move || File::open(run).unwrap().lock().unwrap()).await.unwrap();
}

/// All lines of the log files, each without its time.
fn lines(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("sidecar")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let texts = files.iter().map(|path| {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{}", path.display());
        assert!(text.len() <= 256 * 1024, "{}", path.display());
        text
    });
    let text: String = texts.collect();
    let form = "2026-11-29T12:00:00.123Z ";
    text.lines().map(|line| line[form.len()..].to_owned()).collect()
}

/// The texts of the lines of a stream without a level.
fn texts<'a>(lines: &'a [String], stream: &str) -> Vec<&'a str> {
    let prefix = format!("1 {stream} - ");
    lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

#[test]
fn each_line_that_was_written_before_the_app_was_killed_is_in_the_log_file_once() {
    run(async {
        let rounds = std::env::var("ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
        for round in 0..rounds {
            let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
            let file = folder.path().join("count");
            // The sidecar empties this file when it comes to that step, perhaps later than this test reads it.
            let counts = File::create_new(&file).unwrap();
            let mut host =
                host(&reports, folder.path(), &format!("listen ok announce count {}", file.display())).await;
            // As many lines, and thus at any moment of a read and a write.
            let moment = fastrand::u64(1..1 << fastrand::u32(1..18));
            let count = |stream: usize| {
                let mut count = [0; 8];
                let read = counts.read_at(&mut count, 8 * stream as u64);
                if read.is_ok_and(|read| read == 8) { u64::from_ne_bytes(count) } else { 0 }
            };
            while count(0) < moment {
                tokio::task::yield_now().await;
            }
            host.kill().await;
            guard_ended(folder.path()).await;
            let lines = lines(folder.path());
            for (stream, name) in ["stdout", "stderr"].into_iter().enumerate() {
                let written = count(stream);
                let numbers: Vec<u64> = texts(&lines, name)
                    .iter()
                    .filter_map(|text| text.strip_suffix(&format!(" {}", "x".repeat(60))))
                    .map(|number| number.parse().unwrap())
                    .collect();
                let gap = numbers.iter().zip(0..).position(|(number, expected)| *number != expected);
                assert_eq!(gap, None, "round {round}: {name} at {:?}", &numbers[gap.unwrap_or(0)..][..2]);
                // The sidecar may have been killed before it could count the last line.
                let found = numbers.len() as u64;
                assert!(
                    (written..=written + 1).contains(&found),
                    "round {round}: {name}: {found} of {written}"
                );
            }
            assert!(lines.iter().any(|line| line.contains("because the app has died")), "{lines:#?}");
            assert_eq!(lines.last().unwrap(), "1 pillion info sidecar was killed by signal 15");
        }
    });
}

#[test]
fn the_guard_writes_what_the_sidecar_says_when_it_is_asked_to_stop() {
    run(async {
        let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
        let steps = "listen ok announce out begun term out \\x1b[31m,\\sERROR\\sand\\send\\n err last exit 3";
        let mut host = host(&reports, folder.path(), steps).await;
        host.kill().await;
        guard_ended(folder.path()).await;
        let lines = lines(folder.path());
        let end = &lines[lines.len() - 4..];
        assert!(end[0].contains("is stopped by its guard"), "{lines:#?}");
        assert_eq!(
            end[1..],
            [
                "1 stdout error begun, ERROR and end",
                "1 stderr - last",
                "1 pillion info sidecar exited with code 3"
            ]
        );
    });
}

#[test]
fn the_guard_writes_no_token() {
    run(async {
        let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
        // Whole and in a line that has begun before the kill, which the rest ends after it; then whole, in parts, and between colours.
        let steps = format!(
            "env PILLION_TOKEN token 0 40 report {} up term token 40 64 out \\n env PILLION_TOKEN token 0 16 out \\n \
             token 10 30 out \\x1b[1m token 30 64 out \\n err last exit 3",
            reports.port()
        );
        let logs = ("FAKE_HOST_LOGS", folder.path().to_str().unwrap().to_owned());
        let variables = [logs, ("FAKE_HOST_PRIVATE", "1".to_owned())];
        let mut host = FakeHost::start_with(&reports, HOUR, variables, &fake_sidecar(&steps));
        reports.wait_for("up").await;
        let environments = host.tree.sidecars().into_iter().map(|process| {
            String::from_utf8(fs::read(format!("/proc/{}/environ", process.pid)).unwrap()).unwrap()
        });
        let token = environments
            .flat_map(|environment| environment.split('\0').map(str::to_owned).collect::<Vec<_>>())
            .find_map(|variable| variable.strip_prefix("PILLION_TOKEN=").map(str::to_owned))
            .unwrap();
        host.kill().await;
        guard_ended(folder.path()).await;
        let lines = lines(folder.path());
        let whole = "1 stdout - PILLION_TOKEN=[token]";
        let expected = [whole, "1 stdout - [token]", whole, "1 stdout - [token]", "1 stdout - [token]"];
        let stdout: Vec<_> = lines.iter().filter(|line| line.contains(" stdout ")).collect();
        assert_eq!(stdout, expected, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("is stopped by its guard")), "{lines:#?}");
        let entries = ["sidecar", "reports/sidecar"].map(|of| fs::read_dir(folder.path().join(of)).unwrap());
        for entry in entries.into_iter().flatten() {
            let file = fs::read(entry.unwrap().path()).unwrap();
            let digits = token.as_bytes().windows(16).find(|digits| file.windows(16).any(|it| it == *digits));
            assert_eq!(digits, None, "{}", String::from_utf8_lossy(&file));
        }
    });
}
