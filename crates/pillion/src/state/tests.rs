mod diagram;
mod on_demand;
mod properties;
mod start;

use std::num::NonZeroU16;

use super::{
    Action::{Check, Kill, Launch, Sweep, TerminateGroup, TerminateLeader, Wait, WatchGroup},
    *,
};
use crate::{
    spec::{Restart, RestartLimit},
    status::{Exit, KillReason, StopOutcome},
};

const HERE: ListenAddr = ListenAddr::Tcp(NonZeroU16::new(4242).unwrap());
const OK: Exit = Exit { code: Some(0), signal: None };
const KILLED: Exit = Exit { code: None, signal: Some(9) };
const STOP: Event = Event::Stop(Requester::Stop);

/// A machine whose clock moves only when a test moves it.
#[derive(Debug, Clone)]
struct Machine {
    state: Lifecycle,
    actions: Vec<Action>,
    restarts: Restarts,
    now: Duration,
}

impl Machine {
    fn new(policy: Restart) -> Self {
        let mut restarts = Restarts::new(policy, RestartLimit::default());
        let (state, actions) = Lifecycle::start(&mut restarts);
        Self { state, actions, restarts, now: Duration::ZERO }
    }

    /// A sidecar on demand, before its first use. It is stopped if it is not used for a time.
    fn on_demand(policy: Restart) -> Self {
        let restarts =
            Restarts::new(policy, RestartLimit::default()).with_demand(Some(Demand::new(true, false)));
        Self { state: Lifecycle::Idle(None), actions: Vec::new(), restarts, now: Duration::ZERO }
    }

    fn timer(&self) -> Option<Timer> {
        self.state.timer(&self.restarts)
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, Lifecycle::Idle(None));
        let (state, actions) = state.on(event, &mut self.restarts, self.now);
        self.state = state;
        self.actions.extend(actions.iter().copied());
        actions
    }

    fn after(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        for event in events {
            self.on(event);
        }
        self
    }

    fn outcome(&self) -> StopOutcome {
        match &self.state {
            Lifecycle::Down(ended) => ended.outcome,
            other => panic!("not down: {other:?}"),
        }
    }
}

/// A sidecar without restarts, after these events.
fn run(events: impl IntoIterator<Item = Event>) -> Machine {
    Machine::new(Restart::Never).after([Event::DependenciesReady]).after(events)
}

/// A sidecar with restarts on failure, after these events.
fn restarted(events: impl IntoIterator<Item = Event>) -> Machine {
    Machine::new(Restart::OnFailure).after([Event::DependenciesReady]).after(events)
}

fn up() -> Vec<Event> {
    vec![Event::Launched(Awaits::Announcement), Event::Announced(HERE), Event::Healthy]
}

#[test]
fn a_stop_terminates_the_group_and_waits_for_all_of_it() {
    let stopping = run(up()).after([STOP, Event::Exited(OK)]);
    assert_eq!(stopping.actions[2..], [Check(Some(HERE)), TerminateLeader, TerminateGroup, WatchGroup]);
    assert_eq!(stopping.state.state(), State::Stopping);
    let stopped = stopping.after([Event::Gone]);
    assert_eq!((stopped.state.state(), stopped.outcome()), (State::Stopped, StopOutcome::Graceful(OK)));
}

#[test]
fn a_stop_asks_the_leader_first_and_the_rest_when_it_has_ended_or_at_half_the_grace_period() {
    let second = Duration::from_secs(1);
    let stopping = |events: &[Event]| {
        let mut machine = run(up());
        machine.now = second;
        assert_eq!(machine.on(STOP), [TerminateLeader]);
        assert_eq!(machine.timer(), Some(Timer::LeaderGrace { asked_at: second }));
        machine.now = 3 * second;
        machine.after(events.iter().cloned())
    };
    let mut late = stopping(&[]);
    assert_eq!(late.on(Event::Expired), [TerminateGroup]);
    assert_eq!(late.on(Event::Exited(OK)), [WatchGroup]);
    let mut early = stopping(&[]);
    assert_eq!(early.on(Event::Exited(OK)), [TerminateGroup, WatchGroup]);
    for mut machine in [late, early] {
        // The whole grace period runs from the request, however the rest came to be asked.
        assert_eq!(machine.timer(), Some(Timer::Grace { asked_at: second }));
        assert_eq!(machine.on(Event::Expired), [Kill]);
    }
}

#[test]
fn a_process_that_is_launched_during_a_stop_is_asked_as_far_as_the_stop_has_come() {
    let mut machine = run([STOP]);
    assert_eq!(machine.on(Event::Launched(Awaits::Announcement)), [TerminateLeader]);
    let mut machine = run([STOP, Event::Expired]);
    assert_eq!(machine.on(Event::Launched(Awaits::Announcement)), [TerminateLeader, TerminateGroup]);
    let mut machine = run([Event::Kill]);
    assert_eq!(machine.on(Event::Launched(Awaits::Announcement)), [Kill]);
}

#[test]
fn a_killed_group_that_does_not_end_is_swept_and_then_given_up() {
    let mut machine = run(up()).after([Event::Kill]);
    assert_eq!(machine.timer(), Some(Timer::Kill));
    assert_eq!(machine.on(Event::Expired), [Sweep]);
    assert_eq!(machine.timer(), Some(Timer::Sweep));
    let swept = machine.clone().after([Event::Exited(KILLED), Event::Gone]);
    assert_eq!(swept.outcome(), StopOutcome::Killed(KILLED));
    assert_eq!(machine.after([Event::Expired]).outcome(), StopOutcome::Abandoned);
}

#[test]
fn the_outcome_says_how_the_group_ended() {
    let outcome = |events: &[Event]| run(up()).after(events.iter().cloned()).outcome();
    let killed = [STOP, Event::Expired, Event::Expired, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&killed), StopOutcome::Killed(KILLED));
    assert_eq!(
        run(up()).after(killed).actions[2..],
        [Check(Some(HERE)), TerminateLeader, TerminateGroup, Kill, WatchGroup]
    );
    let rest = [STOP, Event::Exited(OK), Event::Expired, Event::Gone];
    assert_eq!(outcome(&rest), StopOutcome::GroupKilled(OK));
    assert_eq!(
        outcome(&[STOP, Event::Expired, Event::Expired, Event::Expired, Event::Expired]),
        StopOutcome::Abandoned
    );
    let at_once = [STOP, Event::Kill, Event::Kill, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&at_once), StopOutcome::Killed(KILLED));
    let attached = run([Event::Attached(HERE), Event::Healthy, STOP, Event::Gone]);
    assert_eq!(attached.outcome(), StopOutcome::Detached);
}

#[test]
fn an_end_knows_who_wanted_it_and_why_it_was_killed() {
    let ending = |events: &[Event]| match run(up()).after(events.iter().cloned()).state {
        Lifecycle::Ending(ending) => (ending.cause, ending.kill_reason),
        other => panic!("not ending: {other:?}"),
    };
    let asked = Cause::Requested(Requester::Stop);
    assert_eq!(ending(&[STOP]), (asked.clone(), None));
    assert_eq!(ending(&[STOP, Event::Expired]), (asked.clone(), None), "the rest is only asked");
    let grace_over = Some(KillReason::GraceOver);
    assert_eq!(ending(&[STOP, Event::Expired, Event::Expired]), (asked.clone(), grace_over));
    let then_killed = [STOP, Event::Expired, Event::Expired, Event::Kill];
    assert_eq!(ending(&then_killed), (asked.clone(), grace_over), "the first reason stays");
    assert_eq!(ending(&[STOP, Event::Kill]), (asked, Some(KillReason::Requested)));
    for (event, by) in [
        (Event::Restart, Requester::Restart),
        (Event::Stop(Requester::Update), Requester::Update),
        (Event::Stop(Requester::AppEnd), Requester::AppEnd),
    ] {
        assert_eq!(ending(&[event, STOP]), (Cause::Requested(by), None), "the first order counts");
    }
    let killed = (Cause::Requested(Requester::Kill), Some(KillReason::Requested));
    assert_eq!(ending(&[Event::Kill]), killed);
    let crashed = (Cause::Crashed, grace_over);
    assert_eq!(ending(&[Event::Exited(KILLED), STOP, Event::Expired]), crashed);
}

#[test]
fn a_stop_while_down_changes_nothing() {
    let down = run(up()).after([Event::Exited(KILLED), Event::Gone]);
    let (state, actions) = (down.state.clone(), down.actions.clone());
    let still = down.after([STOP, Event::Kill]);
    assert_eq!((still.state, still.actions), (state, actions));
}

#[test]
fn an_exit_is_a_failure_unless_a_ready_sidecar_exits_with_0() {
    assert_eq!(run(up()).after([Event::Exited(OK), Event::Gone]).state.state(), State::Stopped);
    assert_eq!(run(up()).after([Event::Exited(KILLED), Event::Gone]).state.state(), State::Failed);
    let early = run([Event::Launched(Awaits::Announcement), Event::Exited(OK), Event::Gone]);
    assert_eq!(early.state.state(), State::Failed, "an exit before ready is a failure, even with code 0");
}

#[test]
fn after_a_crash_the_rest_of_the_group_gets_the_grace_period() {
    for mut machine in [run(up()), restarted(up())] {
        assert_eq!(machine.on(Event::Exited(KILLED)), [TerminateGroup, WatchGroup]);
        assert_eq!(machine.timer(), Some(Timer::Grace { asked_at: Duration::ZERO }));
        assert_eq!(machine.on(Event::Expired), [Kill]);
    }
}

#[test]
fn a_start_that_takes_too_long_is_terminated_and_then_killed() {
    for events in [
        vec![Event::Launched(Awaits::Announcement)],
        vec![Event::Launched(Awaits::Announcement), Event::Announced(HERE)],
    ] {
        let mut machine = restarted(events);
        assert_eq!(machine.on(Event::Expired), [TerminateLeader]);
        assert!(matches!(&machine.state, Lifecycle::Ending(Ending { cause: Cause::TimedOut(_), .. })));
        assert_eq!(machine.on(Event::Expired), [TerminateGroup]);
        assert_eq!(machine.on(Event::Expired), [Kill]);
        let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
        assert_eq!(machine.state.state(), State::Failed, "a sidecar that was never ready is not restarted");
    }
}

#[test]
fn a_restart_waits_until_the_group_is_gone() {
    let mut machine = run(up()).after([Event::Restart, Event::Exited(OK)]);
    assert!(machine.state.will_restart());
    assert_eq!(machine.on(Event::Gone), [Wait]);
    let mut machine = run(up()).after([Event::Exited(KILLED), Event::Gone]);
    assert_eq!(machine.on(Event::Restart), [Wait]);
}

fn db_restarted() -> Event {
    Event::DependencyRestarted("db".into())
}

#[test]
fn a_sidecar_is_restarted_with_its_dependency_once_that_is_ready() {
    let starting = [Event::Launched(Awaits::Announcement)];
    for events in [starting.to_vec(), up(), [up(), vec![Event::Unhealthy]].concat()] {
        for policy in [Restart::Never, Restart::OnFailure, Restart::Always] {
            let mut machine = Machine::new(policy).after([Event::DependenciesReady]).after(events.clone());
            assert_eq!(machine.on(db_restarted()), [TerminateLeader]);
            assert!(machine.state.will_restart());
            machine.on(Event::Exited(OK));
            assert_eq!(machine.on(Event::Gone), [Wait]);
            assert_eq!(machine.on(Event::DependenciesReady), [Launch]);
            assert_eq!(machine.after(up()).state.state(), State::Ready);
        }
    }
}

#[test]
fn a_launch_that_was_under_way_when_the_dependency_restarted_is_repeated() {
    let mut machine = run([db_restarted()]);
    assert_eq!(machine.on(Event::Launched(Awaits::Announcement)), [TerminateLeader]);
    machine.on(Event::Exited(OK));
    assert_eq!(machine.on(Event::Gone), [Wait]);
    assert_eq!(run([db_restarted()]).on(Event::NotLaunched("the dependency has no port".into())), [Wait]);
}

#[test]
fn a_restart_of_a_dependency_starts_nothing_that_is_down_or_stopping() {
    let crashed = [Event::Exited(KILLED), Event::Gone];
    for (events, state) in [
        (vec![STOP], State::Stopping),
        (vec![STOP, Event::Exited(OK), Event::Gone], State::Stopped),
        (crashed.to_vec(), State::BackingOff),
        ([crashed.to_vec(), vec![Event::Expired]].concat(), State::Waiting),
    ] {
        let mut machine = restarted(up()).after(events);
        assert_eq!((machine.on(db_restarted()), machine.state.state()), (vec![], state));
    }
    let failed = run(up()).after(crashed).after([db_restarted()]);
    assert_eq!(failed.state.state(), State::Failed);
}

#[test]
fn restarts_with_a_dependency_leave_the_restart_limit_as_it_is() {
    let mut machine = restarted(up());
    for crash in 0..5 {
        for _ in 0..3 {
            machine = machine.after([db_restarted(), Event::Exited(OK), Event::Gone]);
            machine = machine.after([Event::DependenciesReady]).after(up());
            assert_eq!(machine.state.state(), State::Ready);
        }
        machine = machine.after([Event::Exited(KILLED), Event::Gone]);
        let state = if crash < 4 { State::BackingOff } else { State::Failed };
        assert_eq!(machine.state.state(), state, "after crash {crash}");
        if crash < 4 {
            machine = machine.after([Event::Expired, Event::DependenciesReady]).after(up());
        }
    }
}

#[test]
fn a_failed_start_after_the_restart_of_a_dependency_is_repeated_as_after_a_crash() {
    let early = [Event::DependenciesReady, Event::Launched(Awaits::Announcement), Event::Exited(KILLED)];
    let machine = restarted(up()).after([db_restarted(), Event::Exited(OK), Event::Gone]);
    assert_eq!(machine.after(early).after([Event::Gone]).state.state(), State::BackingOff);
}

#[test]
fn a_stop_overrides_every_pending_start() {
    for events in [
        vec![db_restarted(), STOP, Event::Exited(OK), Event::Gone],
        vec![Event::Restart, STOP, Event::Exited(OK), Event::Gone],
        vec![Event::Exited(KILLED), STOP, Event::Gone],
        vec![Event::Exited(KILLED), Event::Gone, STOP],
        vec![Event::Exited(KILLED), Event::Gone, Event::Expired, STOP],
    ] {
        let machine = restarted(up()).after(events).after([Event::Expired, Event::DependenciesReady]);
        assert!(matches!(machine.state, Lifecycle::Down(_)), "{:?}", machine.state);
    }
}

#[test]
fn a_crash_backs_off_and_starts_again_until_the_restart_limit() {
    let mut machine = restarted(up());
    for _ in 0..4 {
        machine.on(Event::Exited(KILLED));
        assert!(machine.state.will_restart());
        assert_eq!(machine.on(Event::Gone), []);
        assert_eq!(machine.state.state(), State::BackingOff);
        assert_eq!(machine.on(Event::Expired), [Wait]);
        machine = machine.after([Event::DependenciesReady]).after(up());
        assert_eq!(machine.state.state(), State::Ready);
    }
    let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
    assert!(matches!(machine.state, Lifecycle::Down(Ended { given_up: true, .. })), "{:?}", machine.state);
}

#[test]
fn a_requested_start_resets_the_restart_limit() {
    let mut machine = restarted(up());
    for _ in 0..5 {
        machine = machine
            .after([Event::Exited(KILLED), Event::Gone, Event::Expired, Event::DependenciesReady])
            .after(up());
    }
    assert_eq!(machine.state.state(), State::Failed);
    let machine = machine.after([Event::Restart, Event::DependenciesReady]).after(up());
    assert_eq!(machine.after([Event::Exited(KILLED), Event::Gone]).state.state(), State::BackingOff);
}

#[test]
fn unhealthy_is_reversible_and_only_hung_stops_the_sidecar() {
    let mut machine = restarted(up());
    assert_eq!((machine.on(Event::Unhealthy), machine.state.state()), (vec![], State::Unhealthy));
    assert_eq!((machine.on(Event::Healthy), machine.state.state()), (vec![], State::Ready));
    assert_eq!((machine.on(Event::Hung), machine.state.state()), (vec![TerminateLeader], State::Stopping));
    assert_eq!(machine.on(Event::Expired), [TerminateGroup]);
    assert_eq!(machine.on(Event::Expired), [Kill]);
    let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
    assert_eq!(machine.state.state(), State::BackingOff);
}

#[test]
fn a_hung_sidecar_without_restarts_is_not_stopped() {
    let mut machine = run(up());
    assert_eq!((machine.on(Event::Hung), machine.state.state()), (vec![], State::Unhealthy));
}
