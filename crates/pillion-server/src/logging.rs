use std::{
    env,
    io::{self, IsTerminal},
};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Sends `tracing` events to stderr, because stdout of a sidecar carries only the announcement.
///
/// `RUST_LOG` sets which ones (default `info`): a level, levels of targets, or both, as in `info,hyper=debug`. What is none of these is
/// ignored; spans and fields do not filter. Output has colours on a terminal, unless `NO_COLOR` is set. Does nothing if the program has
/// already installed a subscriber.
///
/// ```
/// pillion_server::init_tracing();
/// ```
pub fn init_tracing() {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colours)
        // Stderr is closed once the host has died. The default reports that with `eprintln!`, which would panic during the
        // graceful stop.
        .log_internal_errors(false);
    // `Targets` and not `EnvFilter`, which brings an engine for regular expressions.
    let filter = targets(&env::var("RUST_LOG").unwrap_or_default());
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

fn targets(directives: &str) -> Targets {
    let valid: Vec<_> = directives
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty() && directive.parse::<Targets>().is_ok())
        .collect();
    match valid.join(",").parse() {
        Ok(targets) if !valid.is_empty() => targets,
        _ => Targets::new().with_default(LevelFilter::INFO),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn directives_are_levels_and_levels_of_targets() {
        for (directives, hyper, other) in [
            ("", Some(Level::INFO), Some(Level::INFO)),
            ("debug", Some(Level::DEBUG), Some(Level::DEBUG)),
            ("WARN, hyper=trace", Some(Level::TRACE), Some(Level::WARN)),
            ("hyper=debug", Some(Level::DEBUG), None),
            ("hyper", Some(Level::TRACE), None),
            ("info,hyper=off", None, Some(Level::INFO)),
            ("off", None, None),
            ("hyper=loud", Some(Level::INFO), Some(Level::INFO)),
            ("hyper=loud,error", Some(Level::ERROR), Some(Level::ERROR)),
        ] {
            let targets = targets(directives);
            let most = |target| {
                let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
                levels.into_iter().find(|level| targets.would_enable(target, level))
            };
            assert_eq!((most("hyper::proto"), most("api")), (hyper, other), "{directives:?}");
        }
    }
}
