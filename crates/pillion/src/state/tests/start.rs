//! The start of a sidecar.

use super::*;

#[test]
fn ready_takes_a_launch_an_announcement_and_health() {
    let machine = run(up());
    assert_eq!(machine.state, Lifecycle::Ready { addr: Some(HERE) });
    assert_eq!(machine.actions, [Wait, Launch, Check(Some(HERE))]);
}

#[test]
fn nothing_is_launched_before_the_dependencies_are_ready() {
    let machine =
        Machine::new(Restart::Never).after([Event::DependencyFailed("db failed".into()), Event::Restart]);
    assert_eq!((machine.state.state(), machine.actions), (State::Waiting, vec![Wait]));
    let stopped = Machine::new(Restart::Never).after([STOP, Event::DependenciesReady]);
    assert_eq!((stopped.outcome(), stopped.actions), (StopOutcome::NotRunning, vec![Wait]));
}

#[test]
fn a_later_announcement_changes_nothing() {
    let other = ListenAddr::Tcp(NonZeroU16::new(6666).unwrap());
    assert_eq!(run(up()).after([Event::Announced(other)]).state, Lifecycle::Ready { addr: Some(HERE) });
    let probing =
        run([Event::Launched(Awaits::Announcement), Event::Announced(HERE), Event::Announced(other)]);
    assert_eq!(probing.state, Lifecycle::Starting(Step::Checking { addr: Some(HERE) }));
}

#[test]
fn a_check_without_an_address_may_learn_it_before_and_after_it_has_passed() {
    let checking = || run([Event::Launched(Awaits::Check(None))]);
    assert_eq!(checking().actions, [Wait, Launch, Check(None)]);
    let ready = checking().after([Event::Healthy]);
    assert_eq!(ready.state, Lifecycle::Ready { addr: None });
    assert_eq!(ready.after([Event::Announced(HERE)]).state, Lifecycle::Ready { addr: Some(HERE) });
    let told = checking().after([Event::Announced(HERE), Event::Healthy]);
    assert_eq!((told.state, told.actions.len()), (Lifecycle::Ready { addr: Some(HERE) }, 3));
}

#[test]
fn only_a_start_takes_longer_for_its_progress() {
    let by = Some(Duration::from_secs(5));
    for before in [vec![], vec![Event::Launched(Awaits::Announcement)], up()[..2].to_vec()] {
        let mut machine = run(before);
        let state = machine.state.clone();
        assert_eq!(machine.on(Event::Extend(by)), [Action::Extend(by)]);
        assert_eq!(machine.state, state);
    }
    for after in [vec![], vec![STOP], vec![Event::Exited(KILLED)], vec![Event::Unhealthy]] {
        let mut machine = run(up()).after(after);
        let state = machine.state.clone();
        assert_eq!((machine.on(Event::Extend(None)), machine.state), (vec![], state));
    }
}

#[test]
fn a_program_that_is_not_the_expected_one_is_not_started_again() {
    let reason = || "version 2".to_owned();
    let failed = |machine: Machine| {
        assert_eq!(machine.state.state(), State::Failed, "{:?}", machine.state);
        let Lifecycle::Down(Ended { cause, given_up, .. }) = machine.state else { panic!("it is down") };
        assert_eq!((cause, given_up), (Cause::Mismatch(reason()), false));
    };
    let crash = || {
        [up(), vec![Event::Exited(KILLED), Event::Gone, Event::Expired, Event::DependenciesReady]].concat()
    };
    for before in [vec![], crash()] {
        failed(restarted(before.clone()).after([Event::WrongProgram(reason())]));
        let mut machine = restarted(before).after(up()[..2].to_vec());
        assert_eq!(machine.on(Event::Mismatch(reason())), [TerminateLeader]);
        failed(machine.after([Event::Exited(OK), Event::Gone]));
    }
    let stopped = restarted([STOP, Event::WrongProgram(reason())]);
    assert_eq!(stopped.state.state(), State::Stopped, "the stop was requested before");
}

#[test]
fn a_known_address_is_checked_at_once() {
    let machine = run([Event::Launched(Awaits::Check(Some(HERE)))]);
    assert_eq!(machine.actions, [Wait, Launch, Check(Some(HERE))]);
}

#[test]
fn a_sidecar_without_a_check_is_ready_when_it_is_launched_and_its_crash_counts() {
    for addr in [None, Some(HERE)] {
        let mut machine = restarted([Event::Launched(Awaits::Nothing(addr))]);
        assert_eq!(machine.state, Lifecycle::Ready { addr });
        machine.on(Event::Exited(KILLED));
        machine.on(Event::Gone);
        assert_eq!(machine.state.state(), State::BackingOff, "it was ready, so it is restarted");
    }
}
