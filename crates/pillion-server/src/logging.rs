use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Sends `tracing` events to stderr, because stdout of a sidecar carries only the announcement.
///
/// `RUST_LOG` sets the filter (default `info`). Output has colours on a terminal, unless `NO_COLOR` is set. Does nothing if
/// the program has already installed a subscriber.
///
/// ```
/// pillion_server::init_tracing();
/// ```
pub fn init_tracing() {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let _ = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_env_filter(filter)
        // Stderr is closed once the host has died. The default reports that with `eprintln!`, which would panic during the
        // graceful stop.
        .log_internal_errors(false)
        .try_init();
}
