//! The kept output of a sidecar: a reader begins in the past, and follows without a gap or a repetition.

use integration_tests::{ReportServer, run};
use pillion::{Level, Log, LogEntry, LogQuery, Logs, OutputStream, Restart, Supervisor};

use crate::support::tree;

/// Reads until a line with this text has come. Returns the lines before it, and itself.
async fn until(logs: &mut Logs, text: &str) -> Vec<LogEntry> {
    let mut lines: Vec<LogEntry> = Vec::new();
    loop {
        let log = logs.next().await.expect("the line comes before the end of the logs");
        if let Log::Lines { entries, .. } = log {
            lines.extend(entries);
        }
        if let Some(end) = lines.iter().position(|entry| entry.text == text) {
            lines.truncate(end + 1);
            return lines;
        }
    }
}

fn texts(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

#[test]
fn a_late_reader_gets_the_past_and_follows_across_runs() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(
            tree.sidecar("listen ok out early\\n err ERROR\\sodd\\n announce term out bye\\n exit 0"),
        );
        supervisor.ready().await.unwrap();
        let mut logs = supervisor.logs(LogQuery::default().levels(true));
        supervisor.restart().await.unwrap();
        let _ = supervisor.stop().await;
        drop(supervisor);
        let mut entries = Vec::new();
        while let Some(log) = logs.next().await {
            // On a slow machine, an unfinished line comes as well.
            if let Log::Lines { entries: lines, .. } = log {
                entries.extend(lines);
            }
        }
        let numbers: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, (1..=8).collect::<Vec<_>>(), "no gap, no repetition");
        for run in [1, 2] {
            let of_run: Vec<_> = entries.iter().filter(|entry| entry.run == run).collect();
            let out = |entry: &&&LogEntry| entry.stream == OutputStream::Stdout;
            let stdout: Vec<_> = of_run.iter().filter(out).map(|entry| entry.text.as_str()).collect();
            assert_eq!((stdout[0], stdout[2]), ("early", "bye"));
            let errors: Vec<_> = of_run.iter().filter(|entry| entry.level == Some(Level::Error)).collect();
            assert_eq!((errors.len(), errors[0].text.as_str()), (1, "ERROR odd"));
        }
        assert!(entries.is_sorted_by_key(|entry| (entry.run, entry.at)), "{entries:?}");
    });
}

#[test]
fn a_reader_can_ask_for_the_last_lines_alone() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "listen ok announce out one\\ntwo\\nthree\\n report {} up wait out new\\n term",
            reports.port()
        );
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        let mut sidecar = reports.wait_for("up").await;
        until(&mut supervisor.logs(LogQuery::default()), "three").await;
        let mut tail = supervisor.logs(LogQuery::default().tail(2));
        let mut new = supervisor.logs(LogQuery::default().tail(0));
        let mut kept = supervisor.logs(LogQuery::default().tail(1).follow(false));
        sidecar.resume().await;
        let lines = until(&mut tail, "new").await;
        assert_eq!(texts(&lines), ["two", "three", "new"]);
        assert_eq!(texts(&until(&mut new, "new").await), ["new"]);
        assert!(kept.next().await.is_some());
        let since = lines[2].at;
        let recent = until(&mut supervisor.logs(LogQuery::default().since(since)), "new").await;
        assert!(recent.iter().all(|entry| entry.at >= since));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_slow_reader_learns_exactly_how_many_lines_it_missed() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps =
            format!("listen ok announce report {} up wait lines 200000 out end\\n term", reports.port());
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        let mut logs = supervisor.logs(LogQuery::default());
        // Another reader learns when everything is written, while this one waits.
        let mut other = supervisor.logs(LogQuery::default());
        reports.wait_for("up").await.resume().await;
        until(&mut other, "end").await;
        let _ = supervisor.stop().await;
        drop(supervisor);
        let (mut seen, mut missed) = (Vec::new(), 0);
        while let Some(log) = logs.next().await {
            match log {
                Log::Lines { entries, .. } => seen.extend(entries.iter().map(|entry| entry.seq)),
                Log::Missed { lines, .. } => missed += lines,
                // On a slow machine, an unfinished line.
                _ => {}
            }
        }
        // The announcement, the lines, those on stderr, and "end".
        let written = 1 + 200_000 + 200 + 1;
        assert!(missed > 0, "20 MB cannot have been kept");
        assert_eq!(missed + seen.len() as u64, written);
        assert!(seen.is_sorted_by(|one, next| one < next));
        assert_eq!(seen.last(), Some(&written));
    });
}

#[test]
fn the_kept_lines_outlive_a_failed_sidecar() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("err cannot\\sopen\\sdatabase\\n exit 3").restart(Restart::Never);
        let (supervisor, _) = Supervisor::start(spec);
        supervisor.ready().await.unwrap_err();
        let lines = until(&mut supervisor.logs(LogQuery::default()), "cannot open database").await;
        assert_eq!((lines[0].seq, lines[0].run, lines[0].stream), (1, 1, OutputStream::Stderr));
    });
}

#[test]
fn a_swap_counts_as_a_run() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok out hello\\n announce term"));
        supervisor.ready().await.unwrap();
        supervisor.swap().await.unwrap();
        let mut logs = supervisor.logs(LogQuery::default());
        let mut runs = Vec::new();
        while runs.len() < 2 {
            let log = logs.next().await.expect("the sidecar runs");
            // On a slow machine, an unfinished line may come, too.
            if let Log::Lines { entries, .. } = log {
                runs.extend(entries.iter().filter(|entry| entry.text == "hello").map(|entry| entry.run));
            }
        }
        assert_eq!(runs, [1, 2]);
        let _ = supervisor.stop().await;
    });
}
