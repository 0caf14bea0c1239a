//! Deaths of the app: each with each kind of sidecar, while the sidecar starts, is ready, or stops.

use integration_tests::orphans::{Death, Moment, Scenario, SidecarKind};
use rustix::process::Signal;

use crate::support::assert_no_survivors;

const MOMENTS: [Moment; 3] = [Moment::Starting, Moment::Ready, Moment::Stopping];

fn each_kind(death: Death, moments: &[Moment]) {
    assert_no_survivors(
        moments.iter().flat_map(|&moment| {
            SidecarKind::ALL.map(|kind| Scenario { moment, ..Scenario::new(death, kind) })
        }),
    );
}

/// Declares one test for each death, so that they run in parallel and fail by name.
macro_rules! deaths {
    ($($name:ident: $death:expr;)*) => {
        $(#[test]
        fn $name() {
            each_kind($death, &MOMENTS);
        })*

        #[test]
        fn each_death_has_a_test() {
            let tested = [$($death),*];
            for death in Death::OF_THE_APP {
                assert!(tested.contains(&death), "{death:?}");
            }
        }
    };
}

deaths! {
    stop: Death::SelfInflicted("stop");
    dropped: Death::SelfInflicted("drop");
    leaked: Death::SelfInflicted("leak");
    process_exit: Death::SelfInflicted("exit");
    abort: Death::SelfInflicted("abort");
    fault: Death::SelfInflicted("segv");
    stack_overflow: Death::SelfInflicted("overflow");
    panic_on_the_main_thread: Death::SelfInflicted("panic-main");
    panic_on_another_thread: Death::SelfInflicted("panic-thread");
    sigterm: Death::Signal(Signal::TERM);
    sigint: Death::Signal(Signal::INT);
    sighup: Death::Signal(Signal::HUP);
    sigquit: Death::Signal(Signal::QUIT);
    sigkill: Death::Signal(Signal::KILL);
    sigsegv: Death::Signal(Signal::SEGV);
    sigint_to_its_group: Death::Group(Signal::INT);
    sigkill_to_its_group: Death::Group(Signal::KILL);
    ctrl_c_in_its_terminal: Death::CtrlC;
    its_terminal_is_closed: Death::TerminalClosed;
}

#[test]
fn an_expired_start() {
    each_kind(Death::TIME_OUT, &[Moment::Starting]);
}
