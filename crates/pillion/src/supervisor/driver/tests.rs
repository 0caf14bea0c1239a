use std::time::Duration;

use super::{reading::READS_AT_ONCE, *};
use crate::{output::tests::read_of, state::Requester, status::OutputStream};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A driver whose start is under way, on a clock that stands still.
fn starting(max: Option<Duration>) -> Driver {
    let spec = Spec::run("model", "./model").ready_timeout(TIMEOUT).ready_timeout_max(max);
    let recorder = Recorder::new(crate::report::event_channel::channel(1).0, None).0;
    Driver::begin(Arc::new(spec), Vec::new(), ExitReports::new("model", None), recorder)
}

/// How long the start may still take.
fn left(driver: &Driver) -> Duration {
    driver.deadline.unwrap().saturating_duration_since(Instant::now())
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn progress_extends_the_time_out_of_a_start_up_to_the_maximum() {
    let mut driver = starting(Some(Duration::from_secs(150)));
    pass(10).await;
    driver.dispatch(Event::Extend(None));
    assert_eq!(left(&driver), TIMEOUT, "the whole time-out, from the progress on");
    pass(50).await;
    driver.dispatch(Event::Extend(Some(Duration::from_secs(1))));
    assert_eq!(left(&driver), Duration::from_secs(10), "progress shortens nothing");
    driver.dispatch(Event::Extend(Some(Duration::from_secs(30))));
    assert_eq!(left(&driver), Duration::from_secs(30));
    assert_eq!(driver.run.diagnostics.time_limit, Some(Duration::from_secs(90)));
    for by in [None, Some(Duration::MAX)] {
        driver.dispatch(Event::Extend(by));
        assert_eq!(left(&driver), if by.is_none() { TIMEOUT } else { Duration::from_secs(90) });
    }
    pass(89).await;
    driver.dispatch(Event::Extend(None));
    assert_eq!(left(&driver), Duration::from_secs(1), "the maximum holds");
}

#[tokio::test(start_paused = true)]
async fn without_a_maximum_progress_extends_nothing() {
    let mut driver = starting(None);
    pass(10).await;
    driver.dispatch(Event::Extend(None));
    driver.dispatch(Event::Extend(Some(TIMEOUT * 10)));
    assert_eq!((left(&driver), driver.run.diagnostics.time_limit), (TIMEOUT - Duration::from_secs(10), None));
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_its_own_outcome_and_not_that_of_the_run_before() {
    let before = StopOutcome::Graceful(Exit::with_code(0));
    let stopped_in_launch = || {
        let mut driver = starting(None);
        // The launch is under way until the event below.
        driver.launch = Some(Box::pin(std::future::pending()));
        driver.outcome = before;
        driver.dispatch(Event::Stop(Requester::Stop));
        driver
    };
    let mut driver = stopped_in_launch();
    driver.dispatch(Event::NotLaunched("no such program".to_owned()));
    assert_eq!(driver.outcome(), StopOutcome::NotRunning);

    let mut driver = stopped_in_launch();
    driver.dispatch(Event::Kill);
    driver.dispatch(Event::Expired);
    driver.dispatch(Event::Expired);
    assert_eq!(driver.outcome(), StopOutcome::Abandoned);
}

/// The runtime of this test has one thread, and the driver has nothing to wait for.
#[tokio::test]
async fn a_flood_of_output_leaves_other_tasks_their_turn_but_not_after_each_read() {
    let mut driver = starting(None);
    for _ in 0..3 {
        let other = tokio::spawn(async {});
        for _ in 1..READS_AT_ONCE {
            driver.handle_input(Input::Output(read_of(OutputStream::Stdout, b"a line\n"))).await;
            assert!(!other.is_finished());
        }
        driver.handle_input(Input::Output(read_of(OutputStream::Stdout, b"a line\n"))).await;
        assert!(other.is_finished());
    }
}
