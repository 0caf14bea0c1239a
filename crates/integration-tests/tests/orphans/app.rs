//! Deaths of the app: each against each kind, while its sidecar starts, is ready, or stops.

use integration_tests::orphans::{Death, Kind, Moment, Scenario};
use rustix::process::Signal;

use crate::support::nobody_survives;

const MOMENTS: [Moment; 3] = [Moment::Starting, Moment::Ready, Moment::Stopping];

fn each_kind(death: Death, moments: &[Moment]) {
    nobody_survives(
        moments
            .iter()
            .flat_map(|&moment| Kind::ALL.map(|kind| Scenario { moment, ..Scenario::new(death, kind) })),
    );
}

/// A test for each death, so that they run beside each other and fail by name.
macro_rules! deaths {
    ($($name:ident: $death:expr;)*) => {
        $(#[test]
        fn $name() {
            each_kind($death, &MOMENTS);
        })*

        #[test]
        fn none_is_forgotten() {
            let tested = [$($death),*];
            for death in Death::OF_THE_APP {
                assert!(tested.contains(&death), "{death:?}");
            }
        }
    };
}

deaths! {
    stop: Death::Own("stop");
    dropped: Death::Own("drop");
    leaked: Death::Own("leak");
    process_exit: Death::Own("exit");
    abort: Death::Own("abort");
    fault: Death::Own("segv");
    stack_overflow: Death::Own("overflow");
    panic_on_the_main_thread: Death::Own("panic-main");
    panic_on_another_thread: Death::Own("panic-thread");
    sigterm: Death::Signal(Signal::TERM);
    sigint: Death::Signal(Signal::INT);
    sighup: Death::Signal(Signal::HUP);
    sigquit: Death::Signal(Signal::QUIT);
    sigkill: Death::Signal(Signal::KILL);
    sigsegv: Death::Signal(Signal::SEGV);
    sigint_to_its_group: Death::Group(Signal::INT);
    sigkill_to_its_group: Death::Group(Signal::KILL);
    ctrl_c_in_its_terminal: Death::CtrlC;
    its_terminal_is_closed: Death::Terminal;
}

#[test]
fn the_start_takes_too_long() {
    each_kind(Death::TIME_OUT, &[Moment::Starting]);
}
