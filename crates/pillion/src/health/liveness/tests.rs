use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use super::*;
use crate::health::probe::ProbeKind;

const INTERVAL: Duration = Duration::from_secs(10);

/// Monitors a server whose connections the kernel accepts and no process answers. The paused clock advances only to the
/// next timer.
fn silent() -> (TcpListener, LivenessMonitor) {
    silent_at(CommonTicks::since(Instant::now()))
}

fn silent_at(ticks: CommonTicks) -> (TcpListener, LivenessMonitor) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = std::num::NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
    let probe = Probe {
        sidecar: "api".to_owned(),
        connector: crate::transport::connector::Connector::Tcp(port),
        kind: ProbeKind::Health { path: "/health".to_owned() },
        instance: None,
        token: None,
        run: None,
        needs_report: false,
    };
    (listener, LivenessMonitor::at_ticks(probe, Liveness::new(INTERVAL, 3), ticks))
}

#[tokio::test(start_paused = true)]
async fn three_unanswered_probes_mean_hung_when_the_fourth_is_due() {
    let (_listener, mut monitor) = silent();
    let start = Instant::now();
    assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
    assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
    assert_eq!(monitor.next().await, LivenessResult::Hung(HangReason::Silent));
    assert_eq!(start.elapsed().as_secs(), 4 * INTERVAL.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_this_process_does_not_count_against_the_sidecar() {
    let (_listener, mut monitor) = silent();
    assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
    assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
    // The computer sleeps for an hour.
    tokio::time::advance(Duration::from_secs(3600)).await;
    for result in [
        LivenessResult::Degraded(None),
        LivenessResult::Degraded(None),
        LivenessResult::Hung(HangReason::Silent),
    ] {
        assert_eq!(monitor.next().await, result);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_pause_of_this_process_counts() {
    let (listener, mut monitor) = silent();
    assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
    let (mut server, _) = listener.accept().unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(monitor.on_due(), None);
    std::io::Write::write_all(&mut server, b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").unwrap();
    loop {
        match monitor.next().await {
            LivenessResult::Degraded(None) => {}
            result => {
                break assert!(matches!(result, LivenessResult::Degraded(Some(NotReady::Status(_)))));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_connections_mean_hung_after_five_seconds() {
    let (listener, mut monitor) = silent();
    drop(listener);
    let refused =
        |result: LivenessResult| matches!(result, LivenessResult::Degraded(Some(NotReady::Unreachable(_))));
    assert!(refused(monitor.next().await));
    let first = Instant::now();
    loop {
        match monitor.next().await {
            LivenessResult::Hung(reason) => break assert_eq!(reason, HangReason::Refused),
            result => {
                assert!(refused(result.clone()) || result == LivenessResult::Degraded(None), "{result:?}");
            }
        }
    }
    assert_eq!(first.elapsed().as_secs(), 5);
}

/// The measurements of a run's processor time, one a probe interval.
fn judge(monitor: &mut LivenessMonitor, cpu_ms: u64) -> Option<LivenessResult> {
    monitor.failed = true;
    monitor.judge(Activity { cpu_time: Some(Duration::from_millis(cpu_ms)), ..Activity::default() })
}

#[tokio::test(start_paused = true)]
async fn a_run_that_works_is_busy_up_to_its_limit_and_hung_once_it_rests() {
    let (_listener, mut monitor) = silent();
    assert_eq!(judge(&mut monitor, 0), Some(LivenessResult::Degraded(None)));
    for tick in 1..30 {
        tokio::time::advance(INTERVAL).await;
        assert_eq!(judge(&mut monitor, tick * 500), Some(LivenessResult::Degraded(None)), "{tick}");
    }
    let mut resting = || {
        let result = judge(&mut monitor, 29 * 500);
        (result, monitor.idle)
    };
    assert_eq!(resting(), (Some(LivenessResult::Degraded(None)), 0), "no time has passed");
    for idle in 1..3 {
        tokio::time::advance(INTERVAL).await;
        assert_eq!(resting(), (Some(LivenessResult::Degraded(None)), idle));
    }
    tokio::time::advance(INTERVAL).await;
    assert_eq!(resting().0, Some(LivenessResult::Hung(HangReason::Silent)));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_works_beyond_its_limit_is_hung() {
    let (_listener, mut monitor) = silent();
    for tick in 0..30 {
        assert_eq!(judge(&mut monitor, tick * 10_000), Some(LivenessResult::Degraded(None)), "{tick}");
        tokio::time::advance(INTERVAL).await;
    }
    assert_eq!(judge(&mut monitor, 300_000), Some(LivenessResult::Hung(HangReason::BusyTooLong)));
}

#[tokio::test(start_paused = true)]
async fn with_a_tolerance_of_one_a_single_measurement_does_not_decide() {
    let (_listener, mut monitor) = silent();
    monitor.liveness.tolerance = 1;
    assert_eq!(judge(&mut monitor, 0), Some(LivenessResult::Degraded(None)));
    tokio::time::advance(INTERVAL).await;
    assert_eq!(judge(&mut monitor, 0), Some(LivenessResult::Hung(HangReason::Silent)));
}

#[tokio::test(start_paused = true)]
async fn connections_that_the_server_closes_without_an_answer_never_mean_hung() {
    let (listener, mut monitor) = silent();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for _ in 0..20 {
        let result = monitor.next().await;
        assert!(matches!(result, LivenessResult::Degraded(_)), "{result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_probes_of_many_sidecars_share_their_wake_ups() {
    let ticks = CommonTicks::since(Instant::now());
    let woken = Arc::new(Mutex::new(BTreeSet::new()));
    let mut sidecars = JoinSet::new();
    for _ in 0..100 {
        let (listener, mut monitor) = silent_at(ticks);
        let woken = Arc::clone(&woken);
        sidecars.spawn(async move {
            let _listener = listener;
            loop {
                tokio::time::sleep_until(monitor.due).await;
                woken.lock().unwrap().insert(Instant::now());
                assert_eq!(monitor.on_due(), None);
                // It answers.
                monitor.reset();
            }
        });
        // They become ready one after another.
        tokio::time::advance(Duration::from_millis(137)).await;
    }
    for _ in 0..3 {
        woken.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(woken.lock().unwrap().len(), 6);
    }
}
