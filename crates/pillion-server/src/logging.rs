use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Sends `tracing` events to stderr, where a sidecar's words for humans belong.
///
/// `RUST_LOG` filters them (default `info`); colours only on a terminal, and not with `NO_COLOR`. Does nothing where
/// the program has installed a subscriber already.
pub fn init_tracing() {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let _ = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(colours)
        .with_env_filter(filter)
        // A host that died has closed stderr. The default reports that with `eprintln!`, which then panics in the
        // middle of a graceful stop.
        .log_internal_errors(false)
        .try_init();
}
