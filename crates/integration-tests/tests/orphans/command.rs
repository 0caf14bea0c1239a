//! `pillion run` dies: each signal against each kind, while its sidecar starts and when it is ready.

use integration_tests::orphans::{Death, HostKind, Moment, Scenario, SidecarKind};
use rustix::process::Signal;

use crate::support::nobody_survives;

fn each_kind(deaths: impl IntoIterator<Item = Death>) {
    nobody_survives(deaths.into_iter().flat_map(|death| {
        [Moment::Starting, Moment::Ready].into_iter().flat_map(move |moment| {
            let host = HostKind::Command;
            SidecarKind::ALL.map(|kind| Scenario { host, moment, ..Scenario::new(death, kind) })
        })
    }));
}

#[test]
fn it_is_asked_to_end() {
    each_kind([Signal::TERM, Signal::INT].map(Death::Signal));
}

#[test]
fn it_is_asked_to_hang_up_or_quit() {
    each_kind([Signal::HUP, Signal::QUIT].map(Death::Signal));
}

#[test]
fn it_is_killed() {
    each_kind([Death::Signal(Signal::KILL), Death::Group(Signal::KILL)]);
}

#[test]
fn it_crashes() {
    each_kind([Death::Signal(Signal::SEGV), Death::Signal(Signal::ABORT)]);
}

#[test]
fn its_terminal_says_so() {
    each_kind([Death::CtrlC, Death::TerminalClosed, Death::Group(Signal::INT)]);
}
