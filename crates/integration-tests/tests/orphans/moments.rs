//! The app dies while its sidecar starts, or stops.

use integration_tests::orphans::{Death, Kind, Moment, Scenario};
use rustix::process::Signal;

use crate::support::nobody_survives;

/// One of each sort: cleaning up, not cleaning up, and without a chance to.
const DEATHS: [Death; 4] =
    [Death::Own("drop"), Death::Own("exit"), Death::Signal(Signal::TERM), Death::Signal(Signal::KILL)];

fn each(moment: Moment) {
    nobody_survives(
        DEATHS
            .into_iter()
            .flat_map(|death| Kind::ALL.map(|kind| Scenario { moment, ..Scenario::new(death, kind) })),
    );
}

#[test]
fn while_it_starts() {
    each(Moment::Starting);
}

#[test]
fn while_it_stops() {
    each(Moment::Stopping);
}
