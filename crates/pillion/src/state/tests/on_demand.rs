//! A sidecar that runs on demand.

use std::time::Duration;

use super::{Awaits, Event, HERE, KILLED, Machine, OK, STOP, db_restarted, up};
use crate::{
    spec::Restart,
    state::{
        Action::{Launch, TerminateLeader, Wait},
        Cause, Lifecycle, Timer,
    },
    status::{State, StopOutcome},
};

const SECOND: Duration = Duration::from_secs(1);

/// A sidecar that its first use has made ready, after these events.
fn used(events: impl IntoIterator<Item = Event>) -> Machine {
    Machine::on_demand(Restart::OnFailure)
        .after([Event::Used, Event::DependenciesReady])
        .after(up())
        .after(events)
}

/// A sidecar that is stopped because nothing uses it, after these events.
fn idle_stop(events: impl IntoIterator<Item = Event>) -> Machine {
    let machine = used([Event::Unused, Event::Expired]);
    assert!(machine.state.starts_on_use());
    machine.after(events)
}

fn gone() -> [Event; 2] {
    [Event::Exited(OK), Event::Gone]
}

#[test]
fn the_first_use_starts_it_and_later_uses_change_nothing() {
    let mut machine = Machine::on_demand(Restart::OnFailure);
    assert_eq!((machine.state.state(), machine.timer()), (State::Idle, None));
    assert_eq!(machine.on(Event::Used), [Wait]);
    assert_eq!(machine.on(Event::DependenciesReady), [Launch]);
    assert_eq!(machine.on(Event::Used), []);
    let mut machine = machine.after(up());
    assert_eq!((machine.on(Event::Used), machine.state.state()), (vec![], State::Ready));
    assert_eq!(machine.timer(), None, "it is in use");
}

#[test]
fn it_is_stopped_after_a_time_without_a_use_that_begins_with_the_end_of_the_last_one() {
    let mut machine = used([]);
    machine.now = 3 * SECOND;
    machine.on(Event::Unused);
    assert_eq!(machine.timer(), Some(Timer::Idle { since: 3 * SECOND }));
    machine.on(Event::Used);
    assert_eq!(machine.timer(), None);
    machine.now = 5 * SECOND;
    machine.on(Event::Unused);
    machine.on(Event::Unhealthy);
    assert_eq!(machine.timer(), Some(Timer::Idle { since: 5 * SECOND }), "health does not count as a use");
    machine.on(Event::Healthy);
    assert_eq!(machine.timer(), Some(Timer::Idle { since: 5 * SECOND }));
    assert_eq!(machine.on(Event::Expired), [TerminateLeader]);
    assert!(machine.state.starts_on_use() && !machine.state.will_restart());
    let mut machine = machine.after(gone());
    assert_eq!(machine.state.state(), State::Idle);
    assert_eq!(machine.on(Event::Used), [Wait]);
}

#[test]
fn a_start_that_nothing_waits_for_any_more_is_finished_and_then_idle() {
    let mut machine =
        Machine::on_demand(Restart::OnFailure).after([Event::Used, Event::DependenciesReady, Event::Unused]);
    machine.now = 9 * SECOND;
    let mut machine = machine.after(up());
    assert_eq!(
        machine.timer(),
        Some(Timer::Idle { since: 9 * SECOND }),
        "the start takes no part of the time"
    );
    assert_eq!(machine.on(Event::Expired), [TerminateLeader]);
    // Before the launch, there is nothing to finish.
    let waiting = Machine::on_demand(Restart::OnFailure).after([Event::Used, Event::Unused]);
    assert_eq!((waiting.state, waiting.actions), (Lifecycle::Idle(None), vec![Wait]));
}

/// As a caller of `restart` that does not wait for its end.
#[test]
fn a_requested_start_that_a_dependency_blocks_goes_on_without_a_use() {
    let failed = || Event::DependencyFailed("db failed".into());
    let crashed = [Event::Exited(KILLED), Event::Gone];
    for events in [
        vec![Event::Restart, failed(), Event::Used],
        vec![Event::Restart, Event::Used, failed()],
        vec![Event::Used, failed(), Event::Restart],
    ] {
        let idle = used([Event::Unused]).after(crashed.clone());
        let mut machine = idle.after(events.clone()).after([Event::Unused]);
        assert_eq!(machine.state.state(), State::Waiting, "{events:?}");
        assert_eq!(machine.on(Event::DependenciesReady), [Launch], "{events:?}");
        assert_eq!(machine.restarts.streak(), 0, "a request forgets the past restarts");
    }
}

#[test]
fn a_start_that_nothing_waits_for_any_more_keeps_the_last_failure() {
    let crashed = [Event::Exited(KILLED), Event::Gone];
    let idle_again = [Event::Used, Event::DependencyFailed("db failed".into()), Event::Unused];
    let by_use = used([Event::Unused]).after(crashed.clone()).after(idle_again);
    let by_restart = used(crashed.clone()).after([Event::Expired, Event::Unused]);
    // A use during the end of a crash, whose next start waits for the use.
    let by_use_in_time =
        used([Event::Unused, Event::Exited(KILLED), Event::Used, Event::Gone, Event::Unused]);
    for machine in [by_use, by_restart, by_use_in_time] {
        let Lifecycle::Idle(Some(ended)) = &machine.state else { panic!("{:?}", machine.state) };
        assert_eq!((&ended.cause, ended.exit), (&Cause::Crashed, Some(KILLED)));
    }
}

#[test]
fn a_use_during_the_stop_waits_for_the_next_run() {
    for events in
        [vec![], vec![Event::Exited(OK)], vec![Event::Expired], vec![Event::Expired, Event::Expired]]
    {
        let mut machine = idle_stop(events.clone());
        assert_eq!(machine.on(Event::Used), [], "{events:?}");
        assert!(machine.state.will_restart() && !machine.state.starts_on_use());
        if !events.contains(&Event::Exited(OK)) {
            machine.on(Event::Exited(OK));
        }
        assert_eq!(machine.on(Event::Gone), [Wait]);
        assert_eq!(machine.on(Event::DependenciesReady), [Launch]);
    }
}

#[test]
fn a_use_during_a_requested_stop_starts_nothing() {
    for events in [
        vec![STOP, Event::Used],
        vec![Event::Unused, STOP, Event::Used],
        vec![Event::Unused, Event::Expired, STOP, Event::Used],
        vec![Event::Unused, Event::Expired, Event::Used, STOP],
        vec![Event::Unused, Event::Expired, Event::Used, STOP, Event::Used],
    ] {
        let machine = used(events.clone()).after(gone()).after([Event::Used]);
        assert_eq!(machine.state.state(), State::Stopped, "{events:?}");
        assert_eq!(machine.actions.iter().filter(|action| **action == Launch).count(), 1, "{events:?}");
    }
}

#[test]
fn a_stop_while_idle_and_while_it_starts_leaves_it_stopped() {
    let mut idle = Machine::on_demand(Restart::OnFailure).after([STOP]);
    assert_eq!((idle.state.state(), idle.outcome()), (State::Stopped, StopOutcome::NotRunning));
    assert_eq!(idle.on(Event::Used), []);
    assert_eq!(idle.on(Event::Restart), [Wait]);
    let waiting = Machine::on_demand(Restart::OnFailure).after([Event::Used, STOP]);
    assert_eq!(waiting.outcome(), StopOutcome::NotRunning);
    let mut launching =
        Machine::on_demand(Restart::OnFailure).after([Event::Used, Event::DependenciesReady, STOP]);
    assert_eq!(launching.on(Event::Launched(Awaits::Announcement)), [TerminateLeader]);
    let stopped = launching.after([Event::Used]).after(gone());
    assert_eq!(stopped.state.state(), State::Stopped);
}

#[test]
fn an_end_by_itself_is_followed_by_a_restart_only_while_it_is_in_use() {
    let crash = [Event::Exited(KILLED), Event::Gone];
    assert_eq!(used(crash.clone()).state.state(), State::BackingOff);
    // A use that waits for it must not wait for ever.
    assert_eq!(used(gone()).state.state(), State::BackingOff);
    for events in [
        [vec![Event::Unused], crash.to_vec()].concat(),
        vec![Event::Exited(KILLED), Event::Unused, Event::Gone],
        [crash.to_vec(), vec![Event::Unused]].concat(),
        vec![Event::Unused, Event::Hung, Event::Exited(KILLED), Event::Gone],
        // A program that ends by itself when it has nothing to do is started by the next use, too.
        vec![Event::Unused, Event::Exited(OK), Event::Gone],
    ] {
        let mut machine = used(events.clone());
        assert_eq!((machine.state.state(), machine.timer()), (State::Idle, None), "{events:?}");
        assert_eq!(machine.on(Event::Used), [Wait]);
    }
}

/// As a client that asks again at once, while the crash ends its use, before or after the process is gone.
#[test]
fn a_sidecar_that_crashes_whenever_it_is_used_fails_beyond_the_restart_limit() {
    let crashed = Event::Exited(KILLED);
    for crash in [
        [Event::Unused, crashed.clone(), Event::Gone],
        [crashed.clone(), Event::Unused, Event::Gone],
        [crashed, Event::Gone, Event::Unused],
    ] {
        let mut machine = used([]);
        for _ in 0..4 {
            machine = machine.after(crash.clone());
            assert_eq!(machine.state.state(), State::Idle);
            machine = machine.after([Event::Used, Event::DependenciesReady]).after(up());
            assert_eq!(machine.state.state(), State::Ready);
        }
        assert_eq!(machine.after(crash).state.state(), State::Failed);
    }
}

#[test]
fn stops_for_lack_of_a_use_do_not_count_towards_the_restart_limit() {
    let mut machine = idle_stop(gone());
    for _ in 0..20 {
        machine = machine.after([Event::Used, Event::DependenciesReady]).after(up());
        assert_eq!(machine.state.state(), State::Ready);
        machine = machine.after([Event::Unused, Event::Expired]).after(gone());
        assert_eq!(machine.state.state(), State::Idle);
    }
}

#[test]
fn a_failed_first_start_is_reported_and_a_later_one_is_repeated_only_while_in_use() {
    let early = [Event::Launched(Awaits::Announcement), Event::Exited(KILLED), Event::Gone];
    let first = Machine::on_demand(Restart::OnFailure).after([Event::Used, Event::DependenciesReady]);
    assert_eq!(first.after(early.clone()).state.state(), State::Failed);
    let again = [Event::Exited(KILLED), Event::Gone, Event::Expired, Event::DependenciesReady];
    assert_eq!(used(again.clone()).after(early.clone()).state.state(), State::BackingOff);
    assert_eq!(used(again).after([Event::Unused]).after(early).state.state(), State::Idle);
}

#[test]
fn an_unused_sidecar_is_not_started_again_with_its_dependency() {
    assert_eq!(used([db_restarted()]).after(gone()).state.state(), State::Waiting);
    for events in [[Event::Unused, db_restarted()], [db_restarted(), Event::Unused]] {
        assert_eq!(used(events).after(gone()).state.state(), State::Idle);
    }
    let used_again = used([Event::Unused, db_restarted(), Event::Used]).after(gone());
    assert_eq!(used_again.state.state(), State::Waiting);
}

#[test]
fn a_sidecar_without_a_time_limit_runs_on_without_a_use() {
    let mut machine = Machine::on_demand(Restart::OnFailure);
    machine.restarts = machine.restarts.with_demand(Some(super::Demand::new(false, false)));
    let mut machine =
        machine.after([Event::Used, Event::DependenciesReady]).after(up()).after([Event::Unused]);
    assert_eq!(machine.timer(), None);
    assert_eq!(machine.on(Event::Expired), []);
    assert_eq!(machine.state, Lifecycle::Ready { addr: Some(HERE) });
}
