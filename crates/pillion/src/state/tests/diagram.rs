//! Generates the state diagram in `docs/states.md` from the machine.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use super::{Machine, properties::every_event};
use crate::{
    spec::Restart,
    state::restarts::{FIRST_PAUSE, LONGEST_PAUSE},
    status::State,
    supervisor::driver::timers::{KILL_TIMEOUT, SWEEP_TIMEOUT},
};

/// The page with the diagram. `cargo xtask codegen` writes it.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");

#[test]
fn generated_diagram_is_up_to_date() {
    let page = fs::read_to_string(PAGE).unwrap_or_default();
    let (head, rest) = page.split_once("```mermaid\n").expect("the page has a diagram");
    let (_, tail) = rest.split_once("```").expect("the diagram has an end");
    let drawn = format!("{head}```mermaid\n{}```{tail}", draw());
    if std::env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(Path::new(PAGE), &drawn).unwrap();
        return;
    }
    assert!(page == drawn, "docs/states.md is out of date: run `cargo xtask codegen`");
}

#[test]
fn the_page_states_the_pauses_and_the_time_out() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (first, longest) = (FIRST_PAUSE.as_millis(), LONGEST_PAUSE.as_secs());
    for text in [
        format!("otherwise {first} ms, {} ms and so on up to {longest} s", 2 * first),
        format!("killed processes do not end within {} s", KILL_TIMEOUT.as_secs()),
        format!("abandons them {} s later", SWEEP_TIMEOUT.as_secs()),
    ] {
        assert!(page.contains(&text), "docs/states.md lacks: {text}");
    }
}

/// Every transition between public states that a sequence of events can cause, under each policy.
fn draw() -> String {
    let mut edges: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for policy in [Restart::Never, Restart::OnFailure, Restart::Always] {
        for first in [Machine::new(policy), Machine::on_demand(policy)] {
            for (from, event, to) in transitions(first) {
                if from != to {
                    edges.entry((name(from), name(to))).or_default().insert(event);
                }
            }
        }
    }
    let mut drawn = String::from("stateDiagram-v2\n    [*] --> Idle: runs on demand\n    [*] --> Waiting\n");
    for ((from, to), events) in edges {
        let events = events.into_iter().collect::<Vec<_>>().join(", ");
        let _ = writeln!(drawn, "    {from} --> {to}: {events}");
    }
    drawn
}

fn name(state: State) -> String {
    format!("{state:?}")
}

fn transitions(first: Machine) -> Vec<(State, String, State)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut open = vec![first];
    while let Some(machine) = open.pop() {
        let key = (&machine.state, machine.restarts.streak(), machine.restarts.is_unused());
        if !seen.insert(format!("{key:?}")) {
            continue;
        }
        for event in every_event() {
            let mut next = machine.clone();
            // Only the event's name, without its content.
            let label = format!("{event:?}").split('(').next().unwrap_or_default().to_owned();
            next.on(event);
            found.push((machine.state.state(), label, next.state.state()));
            open.push(next);
        }
    }
    found
}
