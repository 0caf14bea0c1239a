//! `pillion run` dies: each signal against each kind.

use integration_tests::orphans::{Death, Kind, Scenario, Through};
use rustix::process::Signal;

use crate::support::nobody_survives;

fn each_kind(deaths: impl IntoIterator<Item = Death>) {
    nobody_survives(deaths.into_iter().flat_map(|death| {
        Kind::ALL.map(|kind| Scenario { through: Through::Command, ..Scenario::new(death, kind) })
    }));
}

#[test]
fn it_is_asked_to_end() {
    each_kind([Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].map(Death::Signal));
}

#[test]
fn it_is_killed() {
    each_kind([Death::Signal(Signal::KILL), Death::Group(Signal::KILL), Death::Signal(Signal::SEGV)]);
}

#[test]
fn its_terminal_says_so() {
    each_kind([Death::CtrlC, Death::Terminal]);
}
