//! Output of any form and volume is read in order, and its end is kept after a crash.

use std::{
    env,
    time::{Duration, Instant},
};

use integration_tests::{ReportServer, run};
use pillion::{FailureKind, LINE_LIMIT, OutputStream, SidecarEvent, State, Supervisor};

use crate::support::{first, line, rest, state, status, tree};

#[test]
fn the_last_output_before_a_crash_is_in_the_failure() {
    // A race between the end of the process and the rest of its output. The variable sets the number of trials.
    let rounds: u32 = env::var("PILLION_SOAK").map_or(200, |rounds| rounds.parse().unwrap());
    for _ in 0..rounds.div_ceil(100) {
        run(async {
            let tree = tree();
            for round in 0..rounds.min(100) {
                let dying = if round % 2 == 0 { "raise 6" } else { "exit 3" };
                let steps = format!("out out\\s{round}\\n err err\\s{round}\\nno\\snewline {dying}");
                let failure = Supervisor::start(tree.sidecar(&steps)).0.ready().await.unwrap_err();
                assert_eq!(failure.kind, FailureKind::ExitedEarly);
                let mut tail = failure.detail.tail;
                tail.sort();
                assert_eq!(tail, [format!("err {round}"), "no newline".to_owned(), format!("out {round}")]);
            }
        });
    }
}

#[test]
fn a_full_pipe_at_the_crash_is_read_to_its_end() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("lines 5000 out the\\send\\n raise 11"));
        let tail = supervisor.ready().await.unwrap_err().detail.tail;
        assert!(tail.contains(&"the end".to_owned()), "{tail:?}");
        assert!(tail.contains(&format!("{:099}", 4999)), "{tail:?}");
    });
}

#[test]
fn a_million_unread_lines_do_not_block_the_sidecar() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce lines 1000000 report {} written term", reports.port());
        // This subscriber never reads.
        let (supervisor, _events) = Supervisor::start(tree.sidecar(&steps));
        reports.wait_for("written").await;
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_lines_of_each_stream_arrive_in_order() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce lines 20000 term"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let last = format!("{:099}", 19_999);
        first(&mut events, |event| match event {
            SidecarEvent::Output(batch) => {
                let lines = if batch.stream == OutputStream::Stdout { &mut out } else { &mut err };
                lines.extend(batch.lines().map(|line| line.text()));
                (out.last() == Some(&last) && err.len() == 20).then_some(())
            }
            SidecarEvent::Missed(missed) => {
                panic!("{missed} events were missed by a subscriber that only reads")
            }
            _ => None,
        })
        .await;
        assert!(out[0].starts_with("BACKEND_PORT:"));
        assert!(out[1..].iter().map(|line| line.parse::<u32>().unwrap()).eq(0..20_000));
        assert!(err.iter().map(String::as_str).eq((0..20).map(|number| format!("err {}", number * 1000))));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn lines_keep_their_bytes() {
    run(async {
        let tree = tree();
        let (_supervisor, mut events) =
            Supervisor::start(tree.sidecar("out a\\xff\\x00b\\rc\\n err \\n out d exit 0"));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        first(&mut events, |event| match event {
            SidecarEvent::Output(batch) => {
                let lines = if batch.stream == OutputStream::Stdout { &mut out } else { &mut err };
                lines.extend(batch.lines().map(|line| line.bytes.to_vec()));
                None
            }
            SidecarEvent::Status(status) => (status.state == State::Failed).then_some(()),
            _ => None,
        })
        .await;
        assert_eq!(out, [b"a\xff\x00b\rc".to_vec(), b"d".to_vec()]);
        assert_eq!(err, [b"".to_vec()]);
    });
}

#[test]
fn a_line_of_10_mb_is_cut_and_later_lines_arrive() {
    run(async {
        let tree = tree();
        let steps = "listen ok announce noise 10000000 out \\nafter\\n term";
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(steps));
        let (kept, dropped) = first(&mut events, |event| match event {
            SidecarEvent::Output(batch) => {
                batch.lines().find(|line| line.dropped > 0).map(|line| (line.bytes.len(), line.dropped))
            }
            _ => None,
        })
        .await;
        assert_eq!((kept, dropped), (LINE_LIMIT, 10_000_000 - LINE_LIMIT as u64));
        let _ = supervisor.stop().await;
        // It is in the same batch as the long line, or in a later one.
        let tail = supervisor.ready().await.unwrap_err().detail.tail;
        assert_eq!(tail.last().unwrap(), "after");
    });
}

#[test]
fn a_slow_subscriber_learns_how_many_events_it_missed_and_the_current_status() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "listen ok report {} up wait announce lines 200000 report {0} written term",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        reports.wait_for("up").await.resume().await;
        reports.wait_for("written").await;
        supervisor.ready().await.unwrap();
        let mut missed = 0;
        let seen = first(&mut events, |event| match event {
            SidecarEvent::Missed(count) => {
                missed += count;
                None
            }
            SidecarEvent::Status(status) => Some(*status),
            _ => None,
        })
        .await;
        assert!(missed > 0, "20 MB cannot have been kept");
        assert_eq!(seen, supervisor.status());
        let _ = supervisor.stop().await;
        state(&mut events, State::Stopped).await;
    });
}

#[test]
fn a_slow_subscriber_gets_the_end_after_the_last_output() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "listen ok announce report {} up wait lines 200000 out last\\swords\\n exit 9",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        let mut other = supervisor.subscribe().unwrap();
        reports.wait_for("up").await.resume().await;
        // The subscribers read nothing before the run has ended.
        status(&mut supervisor.subscribe().unwrap(), |status| status.state == State::Failed).await;
        for events in [&mut events, &mut other] {
            let (lines, missed) = rest(events, OutputStream::Stdout).await;
            assert!(missed);
            assert_eq!(lines.last().map(String::as_str), Some("last words"));
        }
    });
}

#[test]
fn a_subscriber_that_falls_behind_twice_gets_the_end_after_the_last_output() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let flood = format!("lines 150000 report {} written wait", reports.port());
        let steps = format!("listen ok announce {flood} {flood} out last\\swords\\n exit 9");
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        let mut written = reports.wait_for("written").await;
        // After the first gap it reads a little, and falls behind again.
        first(&mut events, |event| matches!(event, SidecarEvent::Missed(_)).then_some(())).await;
        for _ in 0..20 {
            first(&mut events, |event| matches!(event, SidecarEvent::Output(_)).then_some(())).await;
        }
        written.resume().await;
        reports.wait_for("written").await.resume().await;
        status(&mut supervisor.subscribe().unwrap(), |status| status.state == State::Failed).await;
        let (lines, missed) = rest(&mut events, OutputStream::Stdout).await;
        assert!(missed);
        assert_eq!(lines.last().map(String::as_str), Some("last words"));
    });
}

#[test]
fn a_late_subscriber_gets_the_current_status_first() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(
            tree.sidecar("listen ok ignore-term announce out old\\n eof out new\\n exit 0"),
        );
        supervisor.ready().await.unwrap();
        let mut late = supervisor.subscribe().unwrap();
        let SidecarEvent::Status(status) = late.next().await.unwrap() else {
            panic!("the status comes first")
        };
        assert_eq!((status.state, *status == supervisor.status()), (State::Ready, true));
        let mut watch = supervisor.watch();
        assert_eq!(watch.next().await.unwrap(), *status);
        let _ = supervisor.stop().await;
        line(&mut late, "new").await;
        assert_eq!(state(&mut late, State::Stopped).await, supervisor.status());
        assert_eq!(watch.next().await.unwrap(), supervisor.status());
    });
}

#[test]
fn a_subscriber_that_comes_during_a_change_misses_nothing() {
    run(async {
        let tree = tree();
        for _ in 0..100 {
            // The start fails on the other thread, while new subscribers come all the time.
            let (supervisor, _) = Supervisor::start(tree.spec(tree.program("/no/such/program")));
            let mut readers = Vec::new();
            while supervisor.status().state != State::Failed {
                readers.push(supervisor.subscribe().unwrap());
            }
            for mut reader in readers {
                status(&mut reader, |status| status.state == State::Failed).await;
            }
        }
    });
}

#[test]
fn statuses_are_numbered_in_order() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce term"));
        supervisor.ready().await.unwrap();
        supervisor.restart().await.unwrap();
        let _ = supervisor.stop().await;
        let mut seen = Vec::new();
        first(&mut events, |event| {
            if let SidecarEvent::Status(status) = event {
                seen.push((status.seq, status.at, status.state));
            }
            matches!(seen.last(), Some((_, _, State::Stopped))).then_some(())
        })
        .await;
        assert!(seen.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{seen:?}");
        let mut states: Vec<_> = seen.iter().map(|(_, _, state)| *state).collect();
        states.dedup();
        let run = [State::Starting, State::Ready, State::Stopping];
        assert_eq!(states, [run.as_slice(), &run, &[State::Stopped]].concat());
    });
}

#[test]
fn a_progress_bar_is_shown_while_it_moves_and_its_last_state_is_kept() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // The line is longer than what is kept of a line.
        let state = |percent: u32| format!("{percent:->200}%");
        let redraws: String = (0..100).map(|percent| format!("\\r{}", state(percent))).collect();
        let steps = format!("err {redraws} report {} drawn wait err \\r100%\\n exit 3", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        let mut sidecar = reports.wait_for("drawn").await;
        // On a slow machine an earlier state may be shown first.
        first(&mut events, |event| match event {
            SidecarEvent::Unfinished(line) if line.text == state(99) => {
                assert_eq!(line.stream, OutputStream::Stderr);
                Some(())
            }
            SidecarEvent::Output(batch) => panic!("{batch:?} before the newline"),
            _ => None,
        })
        .await;
        sidecar.resume().await;
        let line = first(&mut events, |event| match event {
            SidecarEvent::Output(batch) => {
                batch.lines().next().map(|line| (line.bytes.to_vec(), line.dropped))
            }
            _ => None,
        });
        assert_eq!(line.await, (b"100%".to_vec(), 0));
        assert_eq!(supervisor.ready().await.unwrap_err().detail.tail, ["100%"]);
    });
}

#[test]
fn a_redrawn_line_is_published_at_a_bounded_rate() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("redraw 100000 report {} drawn wait out \\n exit 3", reports.port());
        let (_supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        let began = Instant::now();
        let mut sidecar = reports.wait_for("drawn").await;
        let mut shown = 0_u64;
        first(&mut events, |event| match event {
            SidecarEvent::Unfinished(line) => {
                shown += 1;
                (line.text == "99999").then_some(())
            }
            _ => None,
        })
        .await;
        // The first state comes after a shorter time than the later ones.
        assert!(shown <= began.elapsed().as_secs() + 2, "{shown} events in {:?}", began.elapsed());
        sidecar.resume().await;
        assert_eq!(rest(&mut events, OutputStream::Stdout).await, (vec!["99999".to_owned()], false));
    });
}

#[test]
fn a_start_that_waits_at_a_prompt_fails_with_the_prompt() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps =
            format!("err reading\\n out Password:\\s report {} asked ignore-term park", reports.port());
        let spec = tree.sidecar(&steps).ready_timeout(Duration::from_secs(3)).grace(Duration::from_secs(600));
        let (supervisor, mut events) = Supervisor::start(spec);
        let sidecar = reports.wait_for("asked").await;
        // The failure comes before the process ends, and so before its streams end. On a slow machine the prompt comes later.
        let failure = status(&mut events, |status| {
            let Some(failure) = &status.failure else { return false };
            failure.detail.tail.last().is_some_and(|line| line == "Password: ")
        });
        let failure = failure.await.failure.unwrap();
        assert_eq!((failure.kind, failure.detail.tail.len()), (FailureKind::ReadyTimeout, 2));
        let _ = supervisor.kill().await;
        sidecar.wait_death().await;
    });
}
