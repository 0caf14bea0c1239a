//! `pillion exits`: how the last runs of sidecars of running apps ended.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args as ClapArgs;
use pillion_control::{ControlAnswer, ControlRequest, DiscoveredApp};

use super::{
    Stopped, plain,
    render::{now_ms, short, since},
    run,
    select::{Overview, Selection, failed},
};

/// Show how the last runs of the sidecars of running apps ended, and why.
///
/// An app with the plugin keeps the reports of earlier starts, too.
///
/// Exit status: 0, 1 if no running app has such a sidecar.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Write each report to stdout as one JSON object a line.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  Of one sidecar:
    pillion exits backend
  The last lines on stderr before each crash, with jq:
    pillion exits backend --json | jq -r 'select(.reason == \"crashed\") | .stderr[]'";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let overview = Overview::take().await.select(&args.selection)?;
        if !args.json {
            overview.warn();
        }
        let mut failure = None;
        let mut shown = 0;
        for running in &overview.running {
            match show(args, &running.app).await {
                Ok(reports) => shown += reports,
                Err(Stopped::Because(why)) => {
                    // The other apps may answer.
                    if let Some(before) = failure.replace(why) {
                        anstream::eprintln!("pillion: {before}");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        io::stdout().flush()?;
        if shown == 0 && failure.is_none() && !args.json {
            anstream::eprintln!("pillion: no run has ended yet");
        }
        failure.map_or(Ok(()), |why| Err(Stopped::Because(why)))
    })
}

/// Shows the reports that one app has. Returns how many they are.
async fn show(args: &Args, app: &DiscoveredApp) -> Result<usize, Stopped> {
    let request = ControlRequest::ExitReports { sidecar: args.selection.sidecar.clone() };
    let error = |error| failed(app.info(), &error);
    let mut answers = app.request(&request).await.map_err(error)?;
    let mut shown = 0;
    while let Some(answer) = answers.next().await.map_err(error)? {
        let ControlAnswer::ExitReport { report } = answer else { continue };
        shown += 1;
        if args.json {
            let mut line = serde_json::to_vec(&report).map_err(io::Error::from)?;
            line.push(b'\n');
            io::stdout().write_all(&line)?;
            continue;
        }
        let ago = report.ended_at.and_then(|at| since(at, now_ms()));
        let ago = ago.map(|ago| format!("{} ago: ", short(ago))).unwrap_or_default();
        let mut out = anstream::stdout().lock();
        writeln!(out, "{ago}{}", plain(&report.summary()))?;
        for line in report.stdout.iter().chain(&report.stderr) {
            writeln!(out, "  │ {}", plain(line))?;
        }
    }
    Ok(shown)
}
