//! Sidecars behind the launchers that people use. `cargo xtask test` installs the launchers, or names those that it cannot install.

use integration_tests::{
    ProcessTree, ReportServer,
    orphans::{Death, Launcher, Programs, Scenario, SidecarKind, onefile},
    run,
};
use pillion::{Program, Spec, StopOutcome, Supervisor};
use rustix::process::Signal;
use tokio::join;

use crate::support::programs;

/// The kill of the app leaves nothing, and the server says goodbye. So does a stop by the app, which then ends.
fn its_server_ends_with_the_app(kind: SidecarKind, programs: &Programs) {
    for death in [Death::Signal(Signal::KILL), Death::SelfInflicted("stop")] {
        run(async {
            let outcome = Scenario::new(death, kind).run(programs).await.unwrap();
            assert!(outcome.survivors.is_empty(), "{death:?}: {outcome:?}");
            assert_eq!(outcome.graceful, Some(true), "{death:?}: {outcome:?}");
        });
    }
}

/// The server gets one SIGTERM, by way of the launcher, and its goodbye ends the stop.
fn its_server_is_asked_once(launcher: Launcher) {
    run(async {
        let (tree, reports) = (ProcessTree::new(programs().sidecar), ReportServer::new().await);
        let mut command = launcher.command(&programs().sidecar).unwrap().into_iter();
        let port = reports.port();
        let steps = format!("listen ok announce term report {port} asked wait once report {port} bye exit 0");
        let program = tree.program(command.next().unwrap()).args(command).args(steps.split(' '));
        let (supervisor, _events) = Supervisor::start(in_peace(&tree, program));
        supervisor.ready().await.unwrap();
        let (outcome, ()) = join!(supervisor.stop(), async {
            reports.wait_for("asked").await.resume().await;
            reports.wait_for("bye").await.wait_death().await;
        });
        assert!(matches!(outcome, StopOutcome::Graceful(_)), "{outcome:?}");
        tree.assert_dead();
    });
}

/// A grace period that is not a part of the test.
fn in_peace(tree: &ProcessTree, program: Program) -> Spec {
    tree.spec(program).grace(integration_tests::TEST_TIMEOUT)
}

/// Declares the tests of each launcher, so that they fail by name.
macro_rules! each {
    ($($name:ident $launcher:ident,)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn its_server_ends_with_the_app() {
                if is_installed(Launcher::$launcher) {
                    super::its_server_ends_with_the_app(SidecarKind::Launched(Launcher::$launcher), &programs());
                }
            }

            #[test]
            fn its_server_is_asked_once() {
                if is_installed(Launcher::$launcher) {
                    super::its_server_is_asked_once(Launcher::$launcher);
                }
            }
        })*

        #[test]
        fn each_launcher_has_a_test() {
            assert_eq!([$(Launcher::$launcher),*], Launcher::ALL);
        }
    };
}

#[expect(clippy::print_stderr, reason = "says which test did not run")]
fn is_installed(launcher: Launcher) -> bool {
    if !launcher.is_installed() {
        eprintln!("skipped: {} is not installed", launcher.program());
    }
    launcher.is_installed()
}

each! {
    npm Npm,
    pnpm Pnpm,
    tini Tini,
    dumb_init DumbInit,
    uv Uv,
}

/// A second SIGTERM would end the server without its goodbye.
#[test]
fn a_onefile_program_ends_with_the_app() {
    if !onefile::is_installed() {
        eprintln!("skipped: pyinstaller is not installed");
        return;
    }
    let programs = Programs { onefile: Some(onefile::build().unwrap()), ..programs() };
    its_server_ends_with_the_app(SidecarKind::OneFile, &programs);
}
