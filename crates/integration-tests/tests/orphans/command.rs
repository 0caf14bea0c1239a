//! Deaths of `pillion run`: each signal with each kind of sidecar, while the sidecar starts or is ready.

use integration_tests::orphans::{Death, HostKind, Moment, Scenario, SidecarKind};
use rustix::process::Signal;

use crate::support::assert_no_survivors;

fn each_kind(deaths: impl IntoIterator<Item = Death>) {
    assert_no_survivors(deaths.into_iter().flat_map(|death| {
        [Moment::Starting, Moment::Ready].into_iter().flat_map(move |moment| {
            let host = HostKind::Command;
            SidecarKind::ALL.map(|kind| Scenario { host, moment, ..Scenario::new(death, kind) })
        })
    }));
}

#[test]
fn sigterm_and_sigint() {
    each_kind([Signal::TERM, Signal::INT].map(Death::Signal));
}

#[test]
fn sighup_and_sigquit() {
    each_kind([Signal::HUP, Signal::QUIT].map(Death::Signal));
}

#[test]
fn sigkill() {
    each_kind([Death::Signal(Signal::KILL), Death::Group(Signal::KILL)]);
}

#[test]
fn sigsegv_and_sigabrt() {
    each_kind([Death::Signal(Signal::SEGV), Death::Signal(Signal::ABORT)]);
}

#[test]
fn signals_from_its_terminal() {
    each_kind([Death::CtrlC, Death::TerminalClosed, Death::Group(Signal::INT)]);
}
