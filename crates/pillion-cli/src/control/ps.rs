//! `pillion ps`: the running apps and their sidecars.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args as ClapArgs;

use super::{render, run, select::Overview};

/// List the running apps of this user and their sidecars.
///
/// An app is listed if it uses the plugin and its configuration does not say `"control": false`, or if it is `pillion run`. An app that
/// does not answer within 10 s is named on stderr.
///
/// Exit status: 0, even if no app runs.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Write one JSON object to stdout, with the status of each sidecar.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  What runs:
    pillion ps
  The ports of all sidecars that are ready, with jq:
    pillion ps --json | jq '.apps[].sidecars[] | select(.state == \"ready\") | .port'";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let overview = Overview::take().await;
        if args.json {
            render::json(&overview, io::stdout().lock())?;
            return Ok(io::stdout().flush()?);
        }
        overview.warn();
        if overview.running.is_empty() {
            anstream::eprintln!("pillion: {}", overview.why_none());
            return Ok(());
        }
        render::table(&overview.running, anstream::stdout().lock())?;
        Ok(io::stdout().flush()?)
    })
}
