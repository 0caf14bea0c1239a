//! `pillion status`: all that is known of the sidecars of running apps.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args as ClapArgs;

use super::{
    render, run,
    select::{Overview, Selection},
};

/// Show the states of the sidecars of running apps, and why they are what they are.
///
/// A sidecar that failed is shown with its last lines of output.
///
/// Exit status: 0, 1 if no running app has such a sidecar.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Write one JSON object to stdout, in the form of `pillion ps --json`.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  All sidecars of all running apps:
    pillion status
  One sidecar of one app:
    pillion status backend --app com.example.notes
  Why it failed, with jq:
    pillion status backend --json | jq '.apps[].sidecars[].failure'";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let overview = Overview::take().await.select(&args.selection)?;
        if args.json {
            render::json(&overview, io::stdout().lock())?;
        } else {
            overview.warn();
            render::details(&overview.running, anstream::stdout().lock())?;
        }
        Ok(io::stdout().flush()?)
    })
}
