//! What holds for every sequence of events.

use proptest::prelude::*;

use super::*;

/// Any event, whatever the machine expects.
fn any_event() -> impl Strategy<Value = Event> {
    proptest::sample::select(every_event())
}

pub(super) fn every_event() -> Vec<Event> {
    vec![
        Event::Restart,
        STOP,
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
        Event::MemoryExceeded,
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
        | Event::Stop(_)
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
        | Event::MemoryExceeded
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
                Event::Stop(_) | Event::Kill => wanted = false,
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
        let mut machine = machine.after(events).after([STOP]);
        for _ in 0..4 {
            if machine.timer().is_some() {
                machine.on(Event::Expired);
            }
        }
        prop_assert!(matches!(machine.state, Lifecycle::Down(_)));
    }
}
