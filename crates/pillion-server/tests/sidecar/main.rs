//! The promises of `pillion-server`, kept by real processes. They are written with Unix signals and descriptors.
//!
//! This test program is its own helper: started with [`program::ARGUMENT`] it is the sidecar under test, so no helper
//! binary is published and none can be stale. That needs a `main` of our own, hence `libtest-mimic`.

#![expect(clippy::unwrap_used, reason = "clippy does not see that all of this is test code")]
#![cfg_attr(not(unix), expect(dead_code, unused_macros, reason = "the tests are for Unix"))]

/// Makes a test of each async function, named by its path.
macro_rules! trials {
    ($($test:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(
            concat!(module_path!(), "::", stringify!($test)),
            || { crate::support::block_on($test()); Ok(()) },
        )),*]
    };
}

#[cfg(unix)]
mod hostile;
#[cfg(unix)]
mod http;
#[cfg(target_os = "linux")]
mod inherited_listener;
#[cfg(unix)]
mod limits;
#[cfg(unix)]
mod private;
mod program;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(unix)]
mod start;
#[cfg(unix)]
mod stop;
#[cfg(unix)]
mod supervised;
#[cfg(unix)]
mod support;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use std::process::Termination;

    if std::env::args().nth(1).as_deref() == Some(program::ARGUMENT) {
        return program::run().report();
    }
    #[cfg(target_os = "linux")]
    if std::env::args().nth(1).as_deref() == Some(socket::ARGUMENT) {
        return socket::connect();
    }
    let trials = [
        start::trials(),
        http::trials(),
        private::trials(),
        hostile::trials(),
        limits::trials(),
        supervised::trials(),
        stop::trials(),
        #[cfg(target_os = "linux")]
        inherited_listener::trials(),
        #[cfg(target_os = "linux")]
        socket::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials).exit_code()
}

#[cfg(not(unix))]
fn main() {}
