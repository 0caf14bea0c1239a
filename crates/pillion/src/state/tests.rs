mod diagram;
mod on_demand;

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::{
    Action::{Kill, Launch, Sweep, TerminateGroup, TerminateLeader, Wait, WatchGroup},
    *,
};
use crate::spec::RestartLimit;

const HERE: ListenAddr = ListenAddr::Tcp(NonZeroU16::new(4242).unwrap());
const OK: Exit = Exit { code: Some(0), signal: None };
const KILLED: Exit = Exit { code: None, signal: Some(9) };

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
    let stopped = Machine::new(Restart::Never).after([Event::Stop, Event::DependenciesReady]);
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
    for after in [vec![], vec![Event::Stop], vec![Event::Exited(KILLED)], vec![Event::Unhealthy]] {
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
    let stopped = restarted([Event::Stop, Event::WrongProgram(reason())]);
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

#[test]
fn a_stop_terminates_the_group_and_waits_for_all_of_it() {
    let stopping = run(up()).after([Event::Stop, Event::Exited(OK)]);
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
        assert_eq!(machine.on(Event::Stop), [TerminateLeader]);
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
    let mut machine = run([Event::Stop]);
    assert_eq!(machine.on(Event::Launched(Awaits::Announcement)), [TerminateLeader]);
    let mut machine = run([Event::Stop, Event::Expired]);
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
    let killed = [Event::Stop, Event::Expired, Event::Expired, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&killed), StopOutcome::Killed(KILLED));
    assert_eq!(
        run(up()).after(killed).actions[2..],
        [Check(Some(HERE)), TerminateLeader, TerminateGroup, Kill, WatchGroup]
    );
    let rest = [Event::Stop, Event::Exited(OK), Event::Expired, Event::Gone];
    assert_eq!(outcome(&rest), StopOutcome::GroupKilled(OK));
    assert_eq!(
        outcome(&[Event::Stop, Event::Expired, Event::Expired, Event::Expired, Event::Expired]),
        StopOutcome::Abandoned
    );
    let at_once = [Event::Stop, Event::Kill, Event::Kill, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&at_once), StopOutcome::Killed(KILLED));
    let attached = run([Event::Attached(HERE), Event::Healthy, Event::Stop, Event::Gone]);
    assert_eq!(attached.outcome(), StopOutcome::Detached);
}

#[test]
fn a_stop_while_down_changes_nothing() {
    let down = run(up()).after([Event::Exited(KILLED), Event::Gone]);
    let (state, actions) = (down.state.clone(), down.actions.clone());
    let still = down.after([Event::Stop, Event::Kill]);
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
        (vec![Event::Stop], State::Stopping),
        (vec![Event::Stop, Event::Exited(OK), Event::Gone], State::Stopped),
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
        vec![db_restarted(), Event::Stop, Event::Exited(OK), Event::Gone],
        vec![Event::Restart, Event::Stop, Event::Exited(OK), Event::Gone],
        vec![Event::Exited(KILLED), Event::Stop, Event::Gone],
        vec![Event::Exited(KILLED), Event::Gone, Event::Stop],
        vec![Event::Exited(KILLED), Event::Gone, Event::Expired, Event::Stop],
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

/// Any event, whatever the machine expects.
fn any_event() -> impl Strategy<Value = Event> {
    proptest::sample::select(every_event())
}

fn every_event() -> Vec<Event> {
    vec![
        Event::Restart,
        Event::Stop,
        Event::Kill,
        Event::Used,
        Event::Unused,
        Event::DependenciesReady,
        Event::DependencyFailed("db".into()),
        db_restarted(),
        Event::Launched(Awaits::Announcement),
        Event::Launched(Awaits::Check(None)),
        Event::Launched(Awaits::Check(Some(HERE))),
        Event::Launched(Awaits::Nothing(None)),
        Event::Launched(Awaits::Nothing(Some(HERE))),
        Event::Attached(HERE),
        Event::NotLaunched("no such file".into()),
        Event::WrongProgram("another digest".into()),
        Event::Mismatch("another version".into()),
        Event::Announced(HERE),
        Event::Moved(HERE),
        Event::Extend(None),
        Event::Healthy,
        Event::Unhealthy,
        Event::Hung,
        Event::Expired,
        Event::Exited(OK),
        Event::Exited(KILLED),
        Event::Gone,
    ]
}

/// The real state of the process group.
#[derive(Debug, Clone, Copy, PartialEq)]
enum World {
    Nothing,
    Launching,
    Alive,
    LeaderDead,
}

/// Whether this event can happen in this world.
fn can_happen(world: World, event: &Event) -> bool {
    match event {
        Event::Restart
        | Event::Stop
        | Event::Kill
        | Event::Used
        | Event::Unused
        | Event::DependenciesReady
        | Event::DependencyFailed(_)
        | Event::DependencyRestarted(_)
        | Event::Expired
        | Event::Healthy
        | Event::Unhealthy
        | Event::Hung
        | Event::Announced(_)
        | Event::Moved(_)
        | Event::Extend(_) => true,
        Event::Launched(_) | Event::NotLaunched(_) | Event::WrongProgram(_) => world == World::Launching,
        Event::Attached(_) => false,
        Event::Mismatch(_) | Event::Exited(_) => world == World::Alive,
        Event::Gone => world == World::LeaderDead,
    }
}

fn any_policy() -> impl Strategy<Value = Restart> {
    proptest::sample::select(vec![Restart::Never, Restart::OnFailure, Restart::Always])
}

/// A sidecar that starts at once, or one on demand.
fn any_machine() -> impl Strategy<Value = Machine> {
    (any_policy(), any::<bool>()).prop_map(|(policy, on_demand)| {
        if on_demand { Machine::on_demand(policy) } else { Machine::new(policy) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn keeps_every_child_every_stop_and_the_restart_limit(
        mut machine in any_machine(),
        events in proptest::collection::vec((any_event(), 0..30_u64), 0..100),
    ) {
        let policy = machine.restarts.policy;
        let mut world = World::Nothing;
        let mut wanted = true;
        // The launches without a request since the last request.
        let mut unrequested = Vec::new();
        let mut requested = true;
        // Whether a dependency's restart is the cause of the next launch, …
        let mut with_dependency = false;
        // … or a use, and then whether the run before has failed.
        let mut by_use = None;
        for (event, seconds) in events {
            machine.now += Duration::from_secs(seconds);
            let expires = event == Event::Expired;
            let dependency = event == db_restarted();
            if !can_happen(world, &event) || (expires && machine.timer().is_none()) {
                continue;
            }
            match &event {
                Event::Launched(_) => world = World::Alive,
                Event::NotLaunched(_) | Event::WrongProgram(_) | Event::Gone => world = World::Nothing,
                Event::Exited(_) => world = World::LeaderDead,
                Event::Restart => (wanted, requested) = (true, true),
                Event::Used if machine.state.starts_on_use() => {
                    by_use = Some(match &machine.state {
                        Lifecycle::Idle(ended) => ended.as_ref().is_some_and(|ended| ended.cause.is_failure()),
                        Lifecycle::Ending(ending) => ending.cause.is_failure(),
                        _ => false,
                    });
                }
                Event::Stop | Event::Kill => wanted = false,
                _ => {}
            }
            for action in machine.on(event) {
                match action {
                    Launch => {
                        prop_assert_eq!(world, World::Nothing, "launched beside a living group");
                        prop_assert!(wanted, "launched after a requested stop");
                        world = World::Launching;
                        if std::mem::take(&mut requested) {
                            unrequested.clear();
                            (with_dependency, by_use) = (false, None);
                        } else if by_use == Some(false) {
                            by_use = None;
                        } else if !std::mem::take(&mut with_dependency) {
                            unrequested.push(machine.now);
                            let recent = unrequested.iter().filter(|at| machine.now - **at < Duration::from_secs(60));
                            let allowed = policy != Restart::Never || by_use.take().is_some();
                            prop_assert!(allowed, "restarted against the policy");
                            // Four restarts within the window, and one just before it.
                            prop_assert!(recent.count() <= 5, "restarted too often");
                        }
                    }
                    WatchGroup => prop_assert_eq!(world, World::LeaderDead),
                    TerminateLeader if dependency => with_dependency = true,
                    Wait | TerminateLeader | TerminateGroup | Kill | Sweep | Check(_) | Action::Extend(_) => {}
                }
            }
            let state = &machine.state;
            if matches!(state, Lifecycle::Down(Ended { outcome: StopOutcome::Abandoned, .. })) {
                break;
            }
            if matches!(
                state,
                Lifecycle::Down(_) | Lifecycle::Idle(_) | Lifecycle::BackingOff(_) | Lifecycle::Waiting { .. }
            ) {
                prop_assert_eq!(world, World::Nothing, "down while the group lives");
            }
            if matches!(state, Lifecycle::Starting(_) | Lifecycle::Ending(_) | Lifecycle::BackingOff(_)) {
                prop_assert!(machine.timer().is_some(), "a transient state without a timer");
            }
            if matches!(state, Lifecycle::Ready { .. } | Lifecycle::Unhealthy { .. }) {
                prop_assert_eq!(world, World::Alive, "ready without a process");
            }
        }
    }

    /// From every state, a stop ends in `Down` by timers alone.
    #[test]
    fn every_stop_ends(machine in any_machine(), events in proptest::collection::vec(any_event(), 0..30)) {
        let mut machine = machine.after(events).after([Event::Stop]);
        for _ in 0..4 {
            if machine.timer().is_some() {
                machine.on(Event::Expired);
            }
        }
        prop_assert!(matches!(machine.state, Lifecycle::Down(_)));
    }
}
