//! `pillion logs`: the output of a sidecar of a running app.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args as ClapArgs;
use pillion_control::{ClientError, ControlAnswer, ControlRequest};

use super::{
    plain,
    render::now_ms,
    run,
    select::{Overview, failed, named},
};

/// Show the output of a sidecar of a running app.
///
/// Both streams of the sidecar go to stdout, in the order in which the app read them. Its colours are shown only on a terminal,
/// and not with `NO_COLOR`. Its other control sequences are always left out. The app keeps about the newest 20,000
/// lines of all runs, at most 2 MiB.
///
/// Exit status: 0, 1 if the app was killed or gave an error.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the sidecar; it can be left out if only one runs.
    #[arg(value_name = "NAME")]
    sidecar: Option<String>,
    /// The app, by its name, its identifier or its process id, if several running apps have such a sidecar.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Show new lines as they come, those of later runs included, until the app ends.
    #[arg(short, long)]
    follow: bool,
    /// Begin with at most this many past lines; all that the app keeps by default.
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<u64>,
    /// Leave out what is older than this, for example 10m or 2h.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Write one JSON object a line: a line of output with its number, time, run, stream and level, or the number of missed lines.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  The last 50 lines of `backend`, and then all new ones:
    pillion logs --follow --tail 50 backend
  The errors of the last hour of one of several apps, with jq:
    pillion logs backend --app com.example.notes --since 1h --json | jq 'select(.level == \"error\") | .text'";

pub(crate) fn main(args: &Args) -> ExitCode {
    run(async {
        let (app, status) = Overview::take().await.one(args.app.as_deref(), args.sidecar.as_deref())?;
        let since = args
            .since
            .map(|since| now_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        let sidecar = status.sidecar;
        let request = ControlRequest::Logs {
            sidecar: sidecar.clone(),
            tail: args.tail,
            since,
            follow: args.follow,
            levels: args.json,
        };
        let error = |error: ClientError| match error {
            ClientError::Ended => format!("{} has ended", named(app.info())),
            error => failed(app.info(), &error),
        };
        let mut answers = app.request(&request).await.map_err(error)?;
        // `anstream` keeps the colours on a terminal alone.
        let mut out = anstream::stdout();
        while let Some(answer) = answers.next().await.map_err(error)? {
            match (&answer, args.json) {
                (ControlAnswer::Line(_) | ControlAnswer::Missed { .. }, true) => {
                    let mut line = serde_json::to_vec(&answer).map_err(io::Error::from)?;
                    line.push(b'\n');
                    io::stdout().write_all(&line)?;
                    io::stdout().flush()?;
                }
                (ControlAnswer::Line(line), false) => writeln!(out, "{}", line.terminal_text())?,
                (ControlAnswer::Missed { lines }, false) => {
                    out.flush()?;
                    anstream::eprintln!(
                        "pillion: {lines} lines are missing here: they came faster than they could be shown"
                    );
                }
                _ => {}
            }
        }
        if args.follow {
            anstream::eprintln!("pillion: {} has closed {}", named(app.info()), plain(&sidecar));
        }
        Ok(out.flush()?)
    })
}
