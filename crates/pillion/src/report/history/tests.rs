use super::*;
use crate::{output::tests::batch, report::event_channel, status::OutputStream};

fn recorder() -> (Recorder, History) {
    Recorder::new(event_channel::channel(1).0, None)
}

fn print(recorder: &Recorder, run: u64, stream: OutputStream, text: &str) {
    recorder.output(run, Arc::new(batch(stream, text.as_bytes())), None);
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
fn a_long_batch_comes_in_parts() {
    let (recorder, history) = recorder();
    // A line that is empty, one that is cut, and one that holds a carriage return are in different parts.
    let mut lines: Vec<_> = (0..AT_ONCE * 3).map(|number| format!("line {number}")).collect();
    lines[0] = String::new();
    lines[700] = "x".repeat(9000);
    lines[1200] = "old\rnew".to_owned();
    print(&recorder, 1, OutputStream::Stdout, "before\n");
    print(&recorder, 1, OutputStream::Stdout, &(lines.join("\n") + "\n"));
    print(&recorder, 1, OutputStream::Stdout, "after\n");
    lines.splice(0..0, ["before".to_owned()]);
    lines.push("after".to_owned());
    lines[701] = format!("{} … (808 bytes more)", "x".repeat(8192));
    lines[1201] = "new".to_owned();
    let seen = all(&mut history.read(LogQuery::default()));
    assert_eq!(texts(&seen), lines);
    assert!(numbers(&seen).iter().copied().eq(1..=AT_ONCE * 3 + 2));
    assert_eq!(seen.len(), 4);
    let tail = all(&mut history.read(LogQuery::default().tail(1001)));
    assert_eq!((tail.len(), texts(&tail).as_slice()), (3, &lines[501..]));
}

#[test]
fn a_reader_that_does_not_follow_ends_at_what_was_kept_when_it_began() {
    let (recorder, history) = recorder();
    print(&recorder, 1, OutputStream::Stdout, &"x\n".repeat(3));
    let unfinished = |text: &str| UnfinishedLine { stream: OutputStream::Stderr, text: text.to_owned() };
    recorder.unfinished(1, unfinished("10%"));
    let query = LogQuery::default().follow(false);
    let (mut ready, mut late) = (history.read(query.clone()), history.read(query));
    print(&recorder, 1, OutputStream::Stdout, "y\n");
    let seen = all(&mut ready);
    assert_eq!(numbers(&seen), [1, 2, 3]);
    assert!(matches!(seen[1], Log::Unfinished { .. }));
    recorder.unfinished(1, unfinished("20%"));
    assert!(all(&mut ready).is_empty());
    // Lines that came later are neither delivered nor counted.
    for _ in 0..2 {
        print(&recorder, 1, OutputStream::Stdout, &"z\n".repeat(MAX_LINES));
    }
    assert_eq!(all(&mut late), [Log::Missed { lines: 3 }]);
}

#[tokio::test]
async fn a_reader_that_does_not_follow_ends_during_a_flood() {
    let (recorder, history) = recorder();
    print(&recorder, 1, OutputStream::Stdout, "kept\n");
    let mut logs = history.read(LogQuery::default().follow(false));
    let mut seen = Vec::new();
    while let Some(log) = logs.next().await {
        seen.push(log);
        print(&recorder, 1, OutputStream::Stdout, "new\n");
        assert_eq!(seen.len(), 1, "a line that came after the call");
    }
    assert_eq!(texts(&seen), ["kept"]);
}

#[tokio::test]
async fn a_flood_leaves_other_tasks_their_turn() {
    let (recorder, history) = recorder();
    let mut logs = history.read(LogQuery::default());
    let reader = tokio::spawn(async move {
        for _ in 0..10_000 {
            print(&recorder, 1, OutputStream::Stdout, "x\n");
            logs.next().await;
        }
    });
    // This task and the reader share one thread.
    tokio::task::yield_now().await;
    reader.abort();
    assert!(reader.await.is_err_and(|error| error.is_cancelled()), "the reader read to its end");
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
