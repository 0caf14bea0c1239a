//! Deaths of the app while its sidecar is ready: each against each kind.

use integration_tests::orphans::{Death, Kind, Scenario};
use rustix::process::Signal;

use crate::support::nobody_survives;

fn each_kind(death: Death) {
    nobody_survives(Kind::ALL.map(|kind| Scenario::new(death, kind)));
}

/// One test for each death, so that they run beside each other and fail by name.
macro_rules! deaths {
    ($($name:ident: $death:expr;)*) => {
        $(#[test]
        fn $name() {
            each_kind($death);
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
    raised_sigsegv: Death::Own("segv");
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
