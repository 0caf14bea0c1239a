//! `pillion restart`: a restart of a sidecar of a running app.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args as ClapArgs;
use pillion_control::{ControlAnswer, ControlRequest};

use super::{
    plain, run,
    select::{Overview, failed},
};

/// Restart a sidecar of a running app, and wait until it is ready.
///
/// The app must allow it: with `"control": "full"` in plugins.pillion of its tauri.conf.json, or as `pillion run --control full`. It stops
/// the sidecar gracefully if it runs, and starts it; sidecars with `restartWith` follow.
///
/// Exit status: 0 if the sidecar is ready again, 1 if it is not, or if the app does not allow it.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the sidecar.
    #[arg(value_name = "NAME")]
    sidecar: String,
    /// The app, by its name, its identifier or its process id, if several running apps have such a sidecar.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  The one sidecar `backend` that runs:
    pillion restart backend
  Of this app:
    pillion restart backend --app com.example.notes";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let overview = Overview::take().await;
        let (app, _) = overview.one(args.app.as_deref(), Some(&args.sidecar))?;
        let request = ControlRequest::Restart { sidecar: args.sidecar.clone() };
        let error = |error| failed(app.info(), &error);
        let mut answers = app.request(&request).await.map_err(error)?;
        while let Some(answer) = answers.next().await.map_err(error)? {
            if let ControlAnswer::Status { status } = answer {
                let at = status.url.map(|url| format!(" at {}", plain(&url))).unwrap_or_default();
                let pid = status.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
                writeln!(io::stdout(), "{} of {} is ready{at}{pid}", args.sidecar, plain(&app.info().name))?;
            }
        }
        Ok(())
    })
}
