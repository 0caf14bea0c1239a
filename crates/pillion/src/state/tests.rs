use proptest::prelude::*;

use super::*;

const PORT: NonZeroU16 = NonZeroU16::new(4242).unwrap();
const OK: Exit = Exit { code: Some(0), signal: None };
const KILLED: Exit = Exit { code: None, signal: Some(9) };

/// Runs the events from the start and returns the last state with all actions.
fn run(events: impl IntoIterator<Item = Event>) -> (State, Vec<Action>) {
    events.into_iter().fold(State::start(), |(state, mut actions), event| {
        let (state, more) = state.on(event);
        actions.extend(more);
        (state, actions)
    })
}

fn up() -> Vec<Event> {
    vec![Event::Launched, Event::Announced(PORT), Event::Healthy]
}

fn after(events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> (State, Vec<Action>) {
    run(events.into_iter().chain(more))
}

fn outcome(state: &State) -> StopOutcome {
    match state {
        State::Down(ended) => ended.outcome,
        other => panic!("not down: {other:?}"),
    }
}

#[test]
fn ready_takes_a_launch_an_announcement_and_health() {
    assert_eq!(run(up()), (State::Ready { port: PORT }, vec![Launch, Probe(PORT)]));
}

#[test]
fn a_later_announcement_moves_nothing() {
    let other = NonZeroU16::new(6666).unwrap();
    assert_eq!(after(up(), [Event::Announced(other)]).0, State::Ready { port: PORT });
    let probing = run([Event::Launched, Event::Announced(PORT), Event::Announced(other)]);
    assert_eq!(probing.0, State::Starting(Step::Probing { port: PORT }));
}

#[test]
fn a_stop_asks_and_waits_for_the_whole_group() {
    let (state, actions) = after(up(), [Event::Stop, Event::Exited(OK)]);
    assert_eq!(actions, [Launch, Probe(PORT), Ask, WatchGroup]);
    assert_eq!(state.phase(), Phase::Stopping);
    let (state, _) = state.on(Event::Gone);
    assert_eq!((state.phase(), outcome(&state)), (Phase::Stopped, StopOutcome::Graceful(OK)));
}

#[test]
fn the_outcome_says_what_it_took() {
    let (state, actions) = after(up(), [Event::Stop, Event::Expired, Event::Exited(KILLED), Event::Gone]);
    assert_eq!(outcome(&state), StopOutcome::Killed(KILLED));
    assert_eq!(actions, [Launch, Probe(PORT), Ask, Kill, WatchGroup]);
    let (state, _) = after(up(), [Event::Stop, Event::Exited(OK), Event::Expired, Event::Gone]);
    assert_eq!(outcome(&state), StopOutcome::GroupKilled(OK));
    let (state, _) = after(up(), [Event::Stop, Event::Expired, Event::Expired]);
    assert_eq!(outcome(&state), StopOutcome::Abandoned);
    let (state, _) = after(up(), [Event::Stop, Event::Kill, Event::Kill, Event::Exited(KILLED), Event::Gone]);
    assert_eq!(outcome(&state), StopOutcome::Killed(KILLED));
    let (state, _) = run([Event::Attached(PORT), Event::Healthy, Event::Stop, Event::Gone]);
    assert_eq!(outcome(&state), StopOutcome::Detached);
}

#[test]
fn a_stop_of_what_is_down_changes_no_verdict() {
    let events = [Event::Exited(KILLED), Event::Gone];
    assert_eq!(
        after(up(), events.clone()),
        after(up(), events.into_iter().chain([Event::Stop, Event::Kill]))
    );
}

#[test]
fn a_death_is_a_failure_unless_it_was_a_clean_end_of_a_ready_one() {
    assert_eq!(after(up(), [Event::Exited(OK), Event::Gone]).0.phase(), Phase::Stopped);
    assert_eq!(after(up(), [Event::Exited(KILLED), Event::Gone]).0.phase(), Phase::Failed);
    let (state, _) = run([Event::Launched, Event::Exited(OK), Event::Gone]);
    assert_eq!(state.phase(), Phase::Failed, "even code 0 is too early before ready");
}

#[test]
fn a_crash_sweeps_the_group_with_the_same_grace() {
    let (state, actions) = after(up(), [Event::Exited(KILLED)]);
    assert_eq!(actions[2..], [Ask, WatchGroup]);
    assert_eq!(state.timer(), Some(Timer::Grace));
    assert_eq!(state.on(Event::Expired).1, [Kill]);
}

#[test]
fn a_start_that_takes_too_long_is_killed() {
    for events in [vec![Event::Launched], vec![Event::Launched, Event::Announced(PORT)]] {
        let (state, actions) = after(events, [Event::Expired]);
        assert_eq!(actions.last(), Some(&Kill));
        let (state, _) = run_on(state, [Event::Exited(KILLED), Event::Gone]);
        assert_eq!(state.phase(), Phase::Failed);
    }
}

#[test]
fn a_restart_waits_until_everything_is_gone() {
    let (state, actions) = after(up(), [Event::Restart, Event::Exited(OK)]);
    assert!(!actions[1..].contains(&Launch));
    assert_eq!(state.on(Event::Gone), State::start());
    assert_eq!(after(up(), [Event::Exited(KILLED), Event::Gone, Event::Restart]).0, State::start().0);
}

#[test]
fn a_stop_wins_over_a_restart_under_way() {
    let (state, _) = after(up(), [Event::Restart, Event::Stop, Event::Exited(OK), Event::Gone]);
    assert_eq!(state.phase(), Phase::Stopped);
}

fn run_on(state: State, events: impl IntoIterator<Item = Event>) -> (State, Vec<Action>) {
    events.into_iter().fold((state, vec![]), |(state, mut actions), event| {
        let (state, more) = state.on(event);
        actions.extend(more);
        (state, actions)
    })
}

/// What the world may do next, whatever the machine expects.
fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Restart),
        Just(Event::Stop),
        Just(Event::Kill),
        Just(Event::Launched),
        Just(Event::Attached(PORT)),
        Just(Event::NotLaunched("no such file".into())),
        Just(Event::Announced(PORT)),
        Just(Event::Healthy),
        Just(Event::Expired),
        Just(Event::Exited(OK)),
        Just(Event::Exited(KILLED)),
        Just(Event::Gone),
    ]
}

/// A process group as the machine may find it: `None` before the launch is answered.
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
        | Event::Expired
        | Event::Healthy
        | Event::Announced(_) => true,
        Event::Launched | Event::NotLaunched(_) => world == World::Launching,
        Event::Attached(_) => false,
        Event::Exited(_) => world == World::Alive,
        Event::Gone => world == World::LeaderDead,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_child_is_lost_and_no_stop_is_forgotten(events in proptest::collection::vec(any_event(), 0..60)) {
        let (mut state, actions) = State::start();
        prop_assert_eq!(actions, vec![Launch]);
        let mut world = World::Launching;
        let mut wanted = true;
        for event in events {
            let expires = event == Event::Expired;
            if !can_happen(world, &event) || (expires && state.timer().is_none()) {
                continue;
            }
            match &event {
                Event::Launched => world = World::Alive,
                Event::NotLaunched(_) => world = World::Nothing,
                Event::Exited(_) => world = World::LeaderDead,
                Event::Gone => world = World::Nothing,
                Event::Restart => wanted = true,
                Event::Stop | Event::Kill => wanted = false,
                Event::Attached(_) | Event::Announced(_) | Event::Healthy | Event::Expired => {}
            }
            let (next, actions) = state.on(event);
            state = next;
            for action in actions {
                match action {
                    Launch => {
                        prop_assert_eq!(world, World::Nothing, "launched beside a living group");
                        prop_assert!(wanted, "launched after a requested stop");
                        world = World::Launching;
                    }
                    WatchGroup => prop_assert_eq!(world, World::LeaderDead),
                    Ask | Kill | Probe(_) => {}
                }
            }
            let abandoned = matches!(&state, State::Down(Ended { outcome: StopOutcome::Abandoned, .. }));
            if abandoned {
                break;
            }
            if let State::Down(_) = state {
                prop_assert_eq!(world, World::Nothing, "down while the group lives");
            }
            if matches!(state, State::Starting(_) | State::Ending(_)) {
                prop_assert!(state.timer().is_some(), "a state without a way out");
            }
            if matches!(state, State::Ready { .. }) {
                prop_assert_eq!(world, World::Alive, "ready without a process");
            }
        }
    }

    /// From wherever it is, a stop that is followed by silence ends down: the timers alone lead there.
    #[test]
    fn every_stop_ends(events in proptest::collection::vec(any_event(), 0..30)) {
        let (mut state, _) = run(events);
        state = state.on(Event::Stop).0;
        for _ in 0..2 {
            if state.timer().is_some() {
                state = state.on(Event::Expired).0;
            }
        }
        prop_assert!(matches!(state, State::Down(_)));
    }
}
