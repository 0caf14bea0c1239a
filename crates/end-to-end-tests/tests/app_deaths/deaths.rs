//! Each death with each kind of sidecar. The search for survivors ends 5 s after the death.

use integration_tests::{
    orphans::{Death, HostKind, Moment, Scenario, SidecarKind},
    run,
};
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::app_folder::AppFolder;

/// A cooperative sidecar, and three with processes in its group, outside its group, and behind a wrapper.
const KINDS: [SidecarKind; 4] = [
    SidecarKind::Cooperative,
    SidecarKind::GrandchildIgnoresSigterm,
    SidecarKind::Daemon,
    SidecarKind::Wrapper,
];

fn assert_no_survivors(moment: Moment, death: Death) {
    run(async {
        let folder = AppFolder::new();
        let programs = folder.programs();
        let mut running = JoinSet::new();
        for kind in KINDS {
            let scenario = Scenario { host: HostKind::Tauri, moment, ..Scenario::new(death, kind) };
            let programs = programs.clone();
            running.spawn(async move { (scenario, scenario.run(&programs).await) });
        }
        for (scenario, outcome) in running.join_all().await {
            let outcome = outcome.unwrap_or_else(|error| panic!("{scenario:?}: {error}"));
            assert!(outcome.survivors.is_empty(), "{scenario:?}: still alive: {:?}", outcome.survivors);
            assert_ne!(
                outcome.graceful,
                Some(false),
                "{scenario:?}: the sidecar was killed without a request to stop"
            );
        }
    });
}

/// Declares one test for each death, so that they fail by name.
macro_rules! deaths {
    ($($name:ident: $moment:ident, $death:expr;)*) => {
        $(#[test]
        #[ignore = "needs fake-app and a display: cargo xtask test"]
        fn $name() {
            assert_no_survivors(Moment::$moment, $death);
        })*
    };
}

deaths! {
    window_close: Ready, Death::SelfInflicted("close");
    menu_quit: Ready, Death::SelfInflicted("quit");
    app_exit: Ready, Death::SelfInflicted("exit");
    app_exit_on_the_main_thread: Ready, Death::SelfInflicted("exit-main");
    restart_on_the_main_thread: Ready, Death::SelfInflicted("restart");
    restart_on_another_thread: Ready, Death::SelfInflicted("restart-thread");
    restart_in_every_async_worker: Ready, Death::SelfInflicted("restart-tasks");
    request_restart: Ready, Death::SelfInflicted("request-restart");
    several_exits_at_once: Ready, Death::SelfInflicted("race");
    failed_set_up: Ready, Death::SelfInflicted("failed-setup");
    failed_set_up_of_a_later_plugin: Ready, Death::SelfInflicted("failed-plugin");
    panic_on_the_main_thread: Ready, Death::SelfInflicted("panic-main");
    panic_on_another_thread: Ready, Death::SelfInflicted("panic-thread");
    process_exit: Ready, Death::SelfInflicted("process-exit");
    abort: Ready, Death::SelfInflicted("abort");
    raised_sigsegv: Ready, Death::SelfInflicted("segv");
    stack_overflow: Ready, Death::SelfInflicted("overflow");
    sigterm: Ready, Death::Signal(Signal::TERM);
    sigint: Ready, Death::Signal(Signal::INT);
    sighup: Ready, Death::Signal(Signal::HUP);
    sigquit: Ready, Death::Signal(Signal::QUIT);
    sigkill: Ready, Death::Signal(Signal::KILL);
    sigsegv: Ready, Death::Signal(Signal::SEGV);
    sigint_to_its_group: Ready, Death::Group(Signal::INT);
    ctrl_c_in_its_terminal: Ready, Death::CtrlC;
    its_terminal_is_closed: Ready, Death::TerminalClosed;

    window_close_while_the_sidecar_starts: Starting, Death::SelfInflicted("close");
    restart_while_the_sidecar_starts: Starting, Death::SelfInflicted("restart");
    failed_set_up_while_the_sidecar_starts: Starting, Death::SelfInflicted("failed-setup");
    sigkill_while_the_sidecar_starts: Starting, Death::Signal(Signal::KILL);
    window_close_while_the_sidecar_stops: Stopping, Death::SelfInflicted("close");
    restart_while_the_sidecar_stops: Stopping, Death::SelfInflicted("restart");
    sigkill_while_the_sidecar_stops: Stopping, Death::Signal(Signal::KILL);
}
