use super::*;
use crate::output::{OutputStream, tests::batch};

fn recorder() -> (Recorder, History) {
    Recorder::new(broadcast::channel(1).0)
}

fn print(recorder: &Recorder, run: u64, stream: OutputStream, text: &str) {
    recorder.output(run, Arc::new(batch(stream, text.as_bytes())));
}

/// All that the reader gets without waiting.
fn all(logs: &mut Logs) -> Vec<Log> {
    std::iter::from_fn(|| logs.take()).collect()
}

fn numbers(logs: &[Log]) -> Vec<u64> {
    let of = |log: &Log| match log {
        Log::Lines { entries } => entries.iter().map(|entry| entry.seq).collect(),
        _ => Vec::new(),
    };
    logs.iter().flat_map(of).collect()
}

fn texts(logs: &[Log]) -> Vec<String> {
    let of = |log: &Log| match log {
        Log::Lines { entries } => entries.iter().map(|entry| entry.text.clone()).collect(),
        _ => Vec::new(),
    };
    logs.iter().flat_map(of).collect()
}

#[test]
fn a_reader_begins_in_the_kept_lines_and_follows_without_gap_or_repeat() {
    let (recorder, history) = recorder();
    let run = recorder.begin_run();
    print(&recorder, run, OutputStream::Stdout, "one\ntwo\n");
    print(&recorder, run, OutputStream::Stderr, "three\n");
    let mut logs = history.read(LogQuery::default());
    assert_eq!(numbers(&all(&mut logs)), [1, 2, 3]);
    assert!(all(&mut logs).is_empty());
    let run = recorder.begin_run();
    print(&recorder, run, OutputStream::Stdout, "four\n");
    let Some(Log::Lines { entries }) = logs.take() else { panic!("no line") };
    let entry = &entries[0];
    assert_eq!((entry.seq, entry.run, entry.stream, entry.level), (4, 2, OutputStream::Stdout, None));
}

#[test]
fn tail_and_since_limit_the_kept_lines() {
    let (recorder, history) = recorder();
    {
        let mut ring = lock(&recorder.ring);
        for (at, text) in [(10, "a\nb\n"), (20, "c\n"), (30, "d\ne\n")] {
            ring.push(1, at, Arc::new(batch(OutputStream::Stdout, text.as_bytes())));
        }
    }
    let read = |query: LogQuery| numbers(&all(&mut history.read(query)));
    assert_eq!(read(LogQuery::default()), [1, 2, 3, 4, 5]);
    assert_eq!(read(LogQuery::default().tail(2)), [4, 5]);
    assert_eq!(read(LogQuery::default().tail(100)), [1, 2, 3, 4, 5]);
    assert_eq!(read(LogQuery::default().tail(0)), [0_u64; 0]);
    assert_eq!(read(LogQuery::default().since(11)), [3, 4, 5]);
    assert_eq!(read(LogQuery::default().since(30)), [4, 5]);
    assert_eq!(read(LogQuery::default().since(31)), [0_u64; 0]);
    assert_eq!(read(LogQuery::default().since(20).tail(1)), [5]);
    assert_eq!(read(LogQuery::default().since(20).tail(4)), [3, 4, 5]);
    let mut new = history.read(LogQuery::default().tail(0));
    print(&recorder, 1, OutputStream::Stdout, "f\n");
    assert_eq!(numbers(&all(&mut new)), [6]);
}

#[test]
fn the_number_of_missed_lines_is_exact() {
    let (recorder, history) = recorder();
    let mut logs = history.read(LogQuery::default());
    let lines = "x\n".repeat(1000);
    for _ in 0..100 {
        print(&recorder, 1, OutputStream::Stdout, &lines);
    }
    let seen = all(&mut logs);
    let Log::Missed { lines } = seen[0] else { panic!("nothing was missed") };
    let numbers = numbers(&seen);
    assert_eq!(lines + numbers.len() as u64, 100_000);
    assert!(numbers.iter().copied().eq(lines + 1..=100_000));
    assert!(numbers.len() <= MAX_LINES);
}

#[test]
fn the_memory_is_bounded_by_bytes_too() {
    let (recorder, history) = recorder();
    let line = format!("{}\n", "x".repeat(8000));
    for _ in 0..10_000 {
        print(&recorder, 1, OutputStream::Stdout, &line);
    }
    assert!(lock(&history.ring).bytes <= MAX_BYTES);
    // Many small reads count with what they take besides their lines.
    for _ in 0..MAX_LINES {
        print(&recorder, 1, OutputStream::Stdout, "\n");
    }
    let ring = lock(&history.ring);
    assert!(ring.batches.len() * BATCH_OVERHEAD <= MAX_BYTES, "{}", ring.batches.len());
}

#[test]
fn a_batch_that_was_read_in_part_is_read_on() {
    let (recorder, history) = recorder();
    print(&recorder, 1, OutputStream::Stdout, "a\nb\nc\nd\n");
    assert_eq!(texts(&all(&mut history.read(LogQuery::default().tail(3)))), ["b", "c", "d"]);
}

#[test]
fn many_small_reads_come_in_few_messages() {
    let (recorder, history) = recorder();
    for _ in 0..AT_ONCE * 2 {
        print(&recorder, 1, OutputStream::Stdout, "x\n");
    }
    assert_eq!(all(&mut history.read(LogQuery::default())).len(), 2);
}

#[test]
fn levels_and_plain_text_come_on_request() {
    let (recorder, history) = recorder();
    print(&recorder, 1, OutputStream::Stdout, "\x1b[31mERROR\x1b[0m no\n");
    let read = |query| match history.read(query).take() {
        Some(Log::Lines { entries }) => entries[0].clone(),
        other => panic!("{other:?}"),
    };
    let colored = read(LogQuery::default());
    assert_eq!((colored.text.as_str(), colored.level), ("\x1b[31mERROR\x1b[0m no", None));
    assert_eq!(colored.plain_text(), "ERROR no");
    let plain = read(LogQuery::default().ansi(false).levels(true));
    assert_eq!((plain.text.as_str(), plain.level), ("ERROR no", Some(Level::Error)));
}

#[test]
fn an_unfinished_line_comes_until_its_end() {
    let (recorder, history) = recorder();
    let unfinished = |text: &str| UnfinishedLine { stream: OutputStream::Stdout, text: text.to_owned() };
    let mut logs = history.read(LogQuery::default());
    recorder.unfinished(1, unfinished("10%"));
    recorder.unfinished(1, unfinished("20%"));
    let shown = |text: &str| Log::Unfinished { run: 1, stream: OutputStream::Stdout, text: text.to_owned() };
    assert_eq!(all(&mut logs), [shown("20%")]);
    recorder.unfinished(1, unfinished("30%"));
    assert_eq!(all(&mut history.read(LogQuery::default())), [shown("30%")], "a late reader gets it, too");
    print(&recorder, 1, OutputStream::Stdout, "100%\n");
    assert_eq!(texts(&all(&mut logs)), ["100%"]);
    assert!(lock(&history.ring).unfinished.is_empty());
}

#[tokio::test]
async fn a_stream_ends_after_the_last_line_when_the_sidecar_is_gone() {
    let (recorder, history) = recorder();
    let mut logs = history.read(LogQuery::default());
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(log) = logs.next().await {
            seen.push(log);
        }
        texts(&seen)
    });
    print(&recorder, 1, OutputStream::Stdout, "first\n");
    tokio::task::yield_now().await;
    print(&recorder, 1, OutputStream::Stdout, "last\n");
    drop(recorder);
    assert_eq!(reader.await.unwrap(), ["first", "last"]);
    let mut late = history.read(LogQuery::default().follow(false));
    assert!(late.next().await.is_some());
    assert!(late.next().await.is_none());
}

#[test]
fn a_query_of_a_page_may_leave_everything_out() {
    let query: LogQuery = serde_json::from_str("{}").unwrap();
    assert_eq!(query, LogQuery::default());
    let query: LogQuery = serde_json::from_str(r#"{"tail":200,"since":5,"ansi":false}"#).unwrap();
    assert_eq!(query, LogQuery::default().tail(200).since(5).ansi(false));
}
