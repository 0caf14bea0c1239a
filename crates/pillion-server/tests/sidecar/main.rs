//! Tests of `pillion-server` with real processes. They use Unix signals and descriptors.
//!
//! This test program is also the sidecar under test, if it starts with [`test_sidecar::ARGUMENT`]. So the crate publishes no
//! helper binary, and the sidecar is never out of date. The program needs its own `main`, hence `libtest-mimic`.

#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]
#![cfg_attr(not(unix), expect(dead_code, unused_macros, reason = "the tests run on Unix only"))]

/// Creates a test from each async function. Its name is the function's path.
macro_rules! trials {
    ($($test:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(
            concat!(module_path!(), "::", stringify!($test)),
            || { crate::harness::block_on($test()); Ok(()) },
        )),*]
    };
}

#[cfg(unix)]
mod graceful_stop;
#[cfg(unix)]
mod harness;
#[cfg(unix)]
mod health_and_cors;
#[cfg(target_os = "linux")]
mod inherited_listener;
#[cfg(unix)]
mod limits;
#[cfg(target_os = "linux")]
mod local_transport;
#[cfg(unix)]
mod refused_requests;
#[cfg(unix)]
mod startup;
#[cfg(unix)]
mod starvation;
mod test_sidecar;
#[cfg(unix)]
mod token;
#[cfg(unix)]
mod vectors;
#[cfg(unix)]
mod with_supervisor;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use std::process::Termination;

    if std::env::args().nth(1).as_deref() == Some(test_sidecar::ARGUMENT) {
        return test_sidecar::run().report();
    }
    #[cfg(target_os = "linux")]
    if std::env::args().nth(1).as_deref() == Some(local_transport::ARGUMENT) {
        return local_transport::connect();
    }
    let trials = [
        vectors::trials(),
        startup::trials(),
        health_and_cors::trials(),
        token::trials(),
        refused_requests::trials(),
        limits::trials(),
        starvation::trials(),
        with_supervisor::trials(),
        graceful_stop::trials(),
        #[cfg(target_os = "linux")]
        inherited_listener::trials(),
        #[cfg(target_os = "linux")]
        local_transport::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), trials).exit_code()
}

#[cfg(not(unix))]
fn main() {}
