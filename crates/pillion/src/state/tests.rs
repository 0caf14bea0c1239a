mod diagram;

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::{
    Action::{Ask, Kill, WatchGroup},
    *,
};
use crate::spec::RestartLimit;

const HERE: ListenAddr = ListenAddr::Tcp(NonZeroU16::new(4242).unwrap());
const OK: Exit = Exit { code: Some(0), signal: None };
const KILLED: Exit = Exit { code: None, signal: Some(9) };

/// A machine whose clock stands still unless it is told to go on.
#[derive(Clone)]
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

    fn on(&mut self, event: Event) -> Vec<Action> {
        let state = std::mem::replace(&mut self.state, Lifecycle::Waiting { blocked: None });
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

/// A sidecar that is not restarted, after these events.
fn run(events: impl IntoIterator<Item = Event>) -> Machine {
    Machine::new(Restart::Never).after([Event::Cleared]).after(events)
}

/// A sidecar that is restarted, after these events.
fn restarted(events: impl IntoIterator<Item = Event>) -> Machine {
    Machine::new(Restart::OnFailure).after([Event::Cleared]).after(events)
}

fn up() -> Vec<Event> {
    vec![Event::Launched, Event::Announced(HERE), Event::Healthy]
}

#[test]
fn ready_takes_a_launch_an_announcement_and_health() {
    let machine = run(up());
    assert_eq!(machine.state, Lifecycle::Ready { addr: HERE });
    assert_eq!(machine.actions, [Wait, Launch, Probe(HERE)]);
}

#[test]
fn nothing_is_launched_before_what_it_depends_on_is_ready() {
    let machine = Machine::new(Restart::Never).after([Event::Blocked("db failed".into()), Event::Restart]);
    assert_eq!((machine.state.state(), machine.actions), (State::Waiting, vec![Wait]));
    let stopped = Machine::new(Restart::Never).after([Event::Stop, Event::Cleared]);
    assert_eq!((stopped.outcome(), stopped.actions), (StopOutcome::NotRunning, vec![Wait]));
}

#[test]
fn a_later_announcement_moves_nothing() {
    let other = ListenAddr::Tcp(NonZeroU16::new(6666).unwrap());
    assert_eq!(run(up()).after([Event::Announced(other)]).state, Lifecycle::Ready { addr: HERE });
    let probing = run([Event::Launched, Event::Announced(HERE), Event::Announced(other)]);
    assert_eq!(probing.state, Lifecycle::Starting(Step::Probing { addr: HERE }));
}

#[test]
fn a_stop_asks_and_waits_for_the_whole_group() {
    let stopping = run(up()).after([Event::Stop, Event::Exited(OK)]);
    assert_eq!(stopping.actions[2..], [Probe(HERE), Ask, WatchGroup]);
    assert_eq!(stopping.state.state(), State::Stopping);
    let stopped = stopping.after([Event::Gone]);
    assert_eq!((stopped.state.state(), stopped.outcome()), (State::Stopped, StopOutcome::Graceful(OK)));
}

#[test]
fn the_outcome_says_what_it_took() {
    let outcome = |events: &[Event]| run(up()).after(events.iter().cloned()).outcome();
    let killed = [Event::Stop, Event::Expired, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&killed), StopOutcome::Killed(KILLED));
    assert_eq!(run(up()).after(killed).actions[2..], [Probe(HERE), Ask, Kill, WatchGroup]);
    let rest = [Event::Stop, Event::Exited(OK), Event::Expired, Event::Gone];
    assert_eq!(outcome(&rest), StopOutcome::GroupKilled(OK));
    assert_eq!(outcome(&[Event::Stop, Event::Expired, Event::Expired]), StopOutcome::Abandoned);
    let at_once = [Event::Stop, Event::Kill, Event::Kill, Event::Exited(KILLED), Event::Gone];
    assert_eq!(outcome(&at_once), StopOutcome::Killed(KILLED));
    let attached = run([Event::Attached(HERE), Event::Healthy, Event::Stop, Event::Gone]);
    assert_eq!(attached.outcome(), StopOutcome::Detached);
}

#[test]
fn a_stop_of_what_is_down_changes_no_verdict() {
    let down = run(up()).after([Event::Exited(KILLED), Event::Gone]);
    let (state, actions) = (down.state.clone(), down.actions.clone());
    let still = down.after([Event::Stop, Event::Kill]);
    assert_eq!((still.state, still.actions), (state, actions));
}

#[test]
fn a_death_is_a_failure_unless_it_was_a_clean_end_of_a_ready_one() {
    assert_eq!(run(up()).after([Event::Exited(OK), Event::Gone]).state.state(), State::Stopped);
    assert_eq!(run(up()).after([Event::Exited(KILLED), Event::Gone]).state.state(), State::Failed);
    let early = run([Event::Launched, Event::Exited(OK), Event::Gone]);
    assert_eq!(early.state.state(), State::Failed, "even code 0 is too early before ready");
}

#[test]
fn a_crash_sweeps_the_group_with_the_same_grace() {
    for mut machine in [run(up()), restarted(up())] {
        assert_eq!(machine.on(Event::Exited(KILLED)), [Ask, WatchGroup]);
        assert_eq!(machine.state.timer(), Some(Timer::Grace));
        assert_eq!(machine.on(Event::Expired), [Kill]);
    }
}

#[test]
fn a_start_that_takes_too_long_is_asked_to_end_and_then_killed() {
    for events in [vec![Event::Launched], vec![Event::Launched, Event::Announced(HERE)]] {
        let mut machine = restarted(events);
        assert_eq!(machine.on(Event::Expired), [Ask]);
        assert!(matches!(&machine.state, Lifecycle::Ending(Ending { cause: Cause::TimedOut(_), .. })));
        assert_eq!(machine.on(Event::Expired), [Kill]);
        let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
        assert_eq!(
            machine.state.state(),
            State::Failed,
            "nobody has seen it ready: trying again is no answer"
        );
    }
}

#[test]
fn a_restart_waits_until_everything_is_gone() {
    let mut machine = run(up()).after([Event::Restart, Event::Exited(OK)]);
    assert!(machine.state.comes_back());
    assert_eq!(machine.on(Event::Gone), [Wait]);
    let mut machine = run(up()).after([Event::Exited(KILLED), Event::Gone]);
    assert_eq!(machine.on(Event::Restart), [Wait]);
}

#[test]
fn a_stop_wins_wherever_a_start_is_due() {
    for events in [
        vec![Event::Restart, Event::Stop, Event::Exited(OK), Event::Gone],
        vec![Event::Exited(KILLED), Event::Stop, Event::Gone],
        vec![Event::Exited(KILLED), Event::Gone, Event::Stop],
        vec![Event::Exited(KILLED), Event::Gone, Event::Expired, Event::Stop],
    ] {
        let machine = restarted(up()).after(events).after([Event::Expired, Event::Cleared]);
        assert!(matches!(machine.state, Lifecycle::Down(_)), "{:?}", machine.state);
    }
}

#[test]
fn a_crash_backs_off_and_starts_again_until_it_is_too_much() {
    let mut machine = restarted(up());
    for _ in 0..4 {
        machine.on(Event::Exited(KILLED));
        assert!(machine.state.comes_back());
        assert_eq!(machine.on(Event::Gone), []);
        assert_eq!(machine.state.state(), State::BackingOff);
        assert_eq!(machine.on(Event::Expired), [Wait]);
        machine = machine.after([Event::Cleared]).after(up());
        assert_eq!(machine.state.state(), State::Ready);
    }
    let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
    assert!(matches!(machine.state, Lifecycle::Down(Ended { given_up: true, .. })), "{:?}", machine.state);
}

#[test]
fn somebody_who_asks_gets_a_whole_allowance() {
    let mut machine = restarted(up());
    for _ in 0..5 {
        machine =
            machine.after([Event::Exited(KILLED), Event::Gone, Event::Expired, Event::Cleared]).after(up());
    }
    assert_eq!(machine.state.state(), State::Failed);
    let machine = machine.after([Event::Restart, Event::Cleared]).after(up());
    assert_eq!(machine.after([Event::Exited(KILLED), Event::Gone]).state.state(), State::BackingOff);
}

#[test]
fn unhealthy_comes_and_goes_and_only_hanging_has_consequences() {
    let mut machine = restarted(up());
    assert_eq!((machine.on(Event::Unhealthy), machine.state.state()), (vec![], State::Unhealthy));
    assert_eq!((machine.on(Event::Healthy), machine.state.state()), (vec![], State::Ready));
    assert_eq!((machine.on(Event::Hung), machine.state.state()), (vec![Ask], State::Stopping));
    assert_eq!(machine.on(Event::Expired), [Kill]);
    let machine = machine.after([Event::Exited(KILLED), Event::Gone]);
    assert_eq!(machine.state.state(), State::BackingOff);
}

#[test]
fn whoever_may_not_start_it_again_does_not_kill_it() {
    let mut machine = run(up());
    assert_eq!((machine.on(Event::Hung), machine.state.state()), (vec![], State::Unhealthy));
}

/// What the world may do next, whatever the machine expects.
fn any_event() -> impl Strategy<Value = Event> {
    proptest::sample::select(every_event())
}

fn every_event() -> Vec<Event> {
    vec![
        Event::Restart,
        Event::Stop,
        Event::Kill,
        Event::Cleared,
        Event::Blocked("db".into()),
        Event::Launched,
        Event::Attached(HERE),
        Event::NotLaunched("no such file".into()),
        Event::Announced(HERE),
        Event::Healthy,
        Event::Unhealthy,
        Event::Hung,
        Event::Expired,
        Event::Exited(OK),
        Event::Exited(KILLED),
        Event::Gone,
    ]
}

/// A process group as the machine may find it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum World {
    Nothing,
    Launching,
    Alive,
    LeaderDead,
}

/// Keeps only the events that can happen in this world.
fn can_happen(world: World, event: &Event) -> bool {
    match event {
        Event::Restart
        | Event::Stop
        | Event::Kill
        | Event::Cleared
        | Event::Blocked(_)
        | Event::Expired
        | Event::Healthy
        | Event::Unhealthy
        | Event::Hung
        | Event::Announced(_) => true,
        Event::Launched | Event::NotLaunched(_) => world == World::Launching,
        Event::Attached(_) => false,
        Event::Exited(_) => world == World::Alive,
        Event::Gone => world == World::LeaderDead,
    }
}

fn any_policy() -> impl Strategy<Value = Restart> {
    proptest::sample::select(vec![Restart::Never, Restart::OnFailure, Restart::Always])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn no_child_is_lost_no_stop_forgotten_and_no_restart_one_too_many(
        policy in any_policy(),
        events in proptest::collection::vec((any_event(), 0..30_u64), 0..100),
    ) {
        let mut machine = Machine::new(policy);
        let mut world = World::Nothing;
        let mut wanted = true;
        // The launches that nobody asked for, since somebody last asked.
        let mut unasked = Vec::new();
        let mut asked = true;
        for (event, seconds) in events {
            machine.now += Duration::from_secs(seconds);
            let expires = event == Event::Expired;
            if !can_happen(world, &event) || (expires && machine.state.timer().is_none()) {
                continue;
            }
            match &event {
                Event::Launched => world = World::Alive,
                Event::NotLaunched(_) | Event::Gone => world = World::Nothing,
                Event::Exited(_) => world = World::LeaderDead,
                Event::Restart => (wanted, asked) = (true, true),
                Event::Stop | Event::Kill => wanted = false,
                _ => {}
            }
            for action in machine.on(event) {
                match action {
                    Launch => {
                        prop_assert_eq!(world, World::Nothing, "launched beside a living group");
                        prop_assert!(wanted, "launched after a requested stop");
                        world = World::Launching;
                        if std::mem::take(&mut asked) {
                            unasked.clear();
                        } else {
                            unasked.push(machine.now);
                            let recent = unasked.iter().filter(|at| machine.now - **at < Duration::from_secs(60));
                            prop_assert!(policy != Restart::Never, "restarted against the policy");
                            // Five launches within a minute may come of four allowances within it and one just before.
                            prop_assert!(recent.count() <= 5, "restarted too often");
                        }
                    }
                    WatchGroup => prop_assert_eq!(world, World::LeaderDead),
                    Wait | Ask | Kill | Probe(_) => {}
                }
            }
            let state = &machine.state;
            if matches!(state, Lifecycle::Down(Ended { outcome: StopOutcome::Abandoned, .. })) {
                break;
            }
            if matches!(state, Lifecycle::Down(_) | Lifecycle::BackingOff(_) | Lifecycle::Waiting { .. }) {
                prop_assert_eq!(world, World::Nothing, "down while the group lives");
            }
            if matches!(state, Lifecycle::Starting(_) | Lifecycle::Ending(_) | Lifecycle::BackingOff(_)) {
                prop_assert!(state.timer().is_some(), "a state without a way out");
            }
            if matches!(state, Lifecycle::Ready { .. } | Lifecycle::Unhealthy { .. }) {
                prop_assert_eq!(world, World::Alive, "ready without a process");
            }
        }
    }

    /// From wherever it is, a stop that is followed by silence ends down: the timers alone lead there.
    #[test]
    fn every_stop_ends(policy in any_policy(), events in proptest::collection::vec(any_event(), 0..30)) {
        let mut machine = Machine::new(policy).after(events).after([Event::Stop]);
        for _ in 0..2 {
            if machine.state.timer().is_some() {
                machine.on(Event::Expired);
            }
        }
        prop_assert!(matches!(machine.state, Lifecycle::Down(_)));
    }
}
