//! Uses of a sidecar on demand, by handles whose actor the test plays.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use super::*;

/// A sidecar whose snapshot shows this run.
struct Played {
    supervisor: Supervisor,
    commands: mpsc::UnboundedReceiver<Command>,
    snapshot: watch::Sender<Snapshot>,
}

impl Played {
    fn new(pid: u32) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let (published, snapshot) = watch::channel(up(pid));
        let sender = event_channel::channel(1).0;
        let events = sender.downgrade();
        let history = Recorder::new(sender, None).1;
        let supervisor = Supervisor {
            name: "db".to_owned(),
            commands,
            snapshot,
            events,
            history,
            reports: ExitReports::new("db", None),
            measured: LastMeasurement::default(),
            on_demand: true,
        };
        Self { supervisor, commands: received, snapshot: published }
    }

    /// The next command, which must be the begin of a use. Returns what counts it.
    fn begun(&mut self) -> oneshot::Sender<()> {
        match self.commands.try_recv() {
            Ok(Command::BeginUse(counted)) => counted,
            other => panic!("no use has begun: {other:?}"),
        }
    }

    /// The actor has begun to stop the run for lack of a use, and counts the use then: the next run is for it.
    fn count_during_a_stop(&mut self) {
        let counted = self.begun();
        self.snapshot.send_replace(Snapshot { answer: ReadyAnswer::Pending, ..up(0) });
        counted.send(()).unwrap();
    }
}

fn up(pid: u32) -> Snapshot {
    let spec = Spec::run("db", "./db").on_demand(true);
    let sidecar = "db".to_owned();
    let endpoint = Endpoint { sidecar, url: None, port: None, pid: Some(pid), version: None };
    Snapshot { answer: ReadyAnswer::Up(endpoint), ..Snapshot::initial(&spec, State::Ready) }
}

async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_use_returns_no_run_that_is_about_to_stop() {
    let mut played = Played::new(1);
    let supervisor = played.supervisor.clone();
    let mut ready = std::pin::pin!(supervisor.ready());
    assert!(is_pending(ready.as_mut()).await, "the use is not counted");
    played.count_during_a_stop();
    assert!(is_pending(ready.as_mut()).await);
    played.snapshot.send_replace(up(2));
    assert_eq!(ready.await.unwrap().pid, Some(2));
    assert!(matches!(played.commands.try_recv(), Ok(Command::EndUse)));
}

#[tokio::test]
async fn a_dependent_waits_for_no_run_that_is_about_to_stop() {
    let mut played = Played::new(1);
    let dependency = played.supervisor.as_dependency(false, false);
    let (_lease, counted) = dependency.begin_use().unwrap();
    let mut wait = dependencies::LaunchWait::new(vec![dependency], vec![counted], None, false, None).unwrap();
    let mut next = std::pin::pin!(wait.next());
    assert!(is_pending(next.as_mut()).await, "the use is not counted");
    played.count_during_a_stop();
    assert!(is_pending(next.as_mut()).await);
    played.snapshot.send_replace(up(2));
    assert_eq!(next.await, Some(crate::state::Event::DependenciesReady));
}

#[test]
#[should_panic(expected = "a sidecar needs a tokio runtime: start it in an async function")]
fn a_start_outside_of_a_runtime_says_what_it_needs() {
    let _ = Supervisor::start(Spec::run("api", "x"));
}
