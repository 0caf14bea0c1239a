//! Tables and details of running apps, for people and for programs.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anstyle::{AnsiColor, Style};
use pillion::{State, Status};
use pillion_control::{AppInfo, ControlLevel};
use serde::Serialize;

use super::{
    plain,
    select::{Overview, Running, named},
};

/// What `--json` writes.
#[derive(Serialize)]
struct Document<'a> {
    apps: Vec<JsonApp<'a>>,
    /// Apps that gave no answer, and directories that cannot be used, in words.
    problems: &'a [String],
}

#[derive(Serialize)]
struct JsonApp<'a> {
    #[serde(flatten)]
    info: &'a AppInfo,
    control: ControlLevel,
    sidecars: &'a [Status],
}

/// Writes one JSON object.
pub(super) fn json(overview: &Overview, mut out: impl Write) -> io::Result<()> {
    let apps = overview.running.iter().map(|Running { app, sidecars }| JsonApp {
        info: app.info(),
        control: app.control(),
        sidecars,
    });
    let document = Document { apps: apps.collect(), problems: &overview.problems };
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)
}

/// Writes a table with one line for each sidecar.
pub(super) fn table(running: &[Running], mut out: impl Write) -> io::Result<()> {
    let head = ["APP", "PID", "SIDECAR", "STATE", "PID", "PORT", "UPTIME", "RESTARTS"];
    let mut rows = vec![(head.map(str::to_owned), Style::new().bold())];
    let now = now_ms();
    for Running { app, sidecars } in running {
        let of_app = [plain(&app.info().name), app.info().pid.to_string()];
        if sidecars.is_empty() {
            let [name, pid] = of_app;
            let none = || "-".to_owned();
            rows.push(([name, pid, none(), none(), none(), none(), none(), none()], Style::new()));
            continue;
        }
        for status in sidecars {
            let [name, pid] = of_app.clone();
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let row = [
                name,
                pid,
                plain(&status.sidecar),
                state(status.state).to_owned(),
                or_none(status.pid.filter(|_| lives(status)).map(|pid| pid.to_string())),
                or_none(status.port.map(|port| port.to_string())),
                or_none(uptime(status, now).map(short)),
                status.restarts.to_string(),
            ];
            rows.push((row, style(status.state)));
        }
    }
    let widths: Vec<_> = (0..head.len())
        .map(|column| rows.iter().map(|(row, _)| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    for (index, (row, style)) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count() + 2);
            // The state has a colour; the head is bold as a whole.
            let style = if index == 0 || column == STATE { *style } else { Style::new() };
            line += &format!("{style}{cell}{style:#}{padding}");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The column of the state.
const STATE: usize = 3;

/// Writes all that is known of the sidecars.
pub(super) fn details(running: &[Running], mut out: impl Write) -> io::Result<()> {
    let (bold, now) = (Style::new().bold(), now_ms());
    for (index, Running { app, sidecars }) in running.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let version =
            app.info().version.as_ref().map(|version| format!(" {}", plain(version))).unwrap_or_default();
        let allowed = match app.control() {
            ControlLevel::Full => "allows restarts from outside",
            _ => "can be looked at from outside",
        };
        writeln!(out, "{bold}{}{bold:#}{version}, {allowed}", named(app.info()))?;
        for status in sidecars {
            of_sidecar(status, now, &mut out)?;
        }
    }
    Ok(())
}

fn of_sidecar(status: &Status, now: u64, out: &mut impl Write) -> io::Result<()> {
    let (color, since) = (style(status.state), since(status.at, now).map(short).unwrap_or_default());
    let at = status.url.as_ref().map(|url| format!(" at {}", plain(url))).unwrap_or_default();
    let bold = Style::new().bold();
    writeln!(
        out,
        "  {bold}{}{bold:#}: {color}{}{color:#}{at}, for {since}",
        plain(&status.sidecar),
        state(status.state)
    )?;
    let process = status.pid.map(|pid| match uptime(status, now) {
        Some(up) => format!("process {pid}, up for {}", short(up)),
        None => format!("last process {pid}"),
    });
    let version = status.version.as_ref().map(|version| format!("version {}", plain(version)));
    let restarts = (status.restarts > 0).then(|| format!("{} restarts in a row", status.restarts));
    let facts: Vec<_> = [process, version, restarts].into_iter().flatten().collect();
    if !facts.is_empty() {
        writeln!(out, "    {}", facts.join(", "))?;
    }
    for words in [&status.progress, &status.reason].into_iter().flatten() {
        writeln!(out, "    {}", plain(words))?;
    }
    let tail = status.failure.iter().flat_map(|failure| &failure.detail.tail);
    for line in tail {
        writeln!(out, "    │ {}", plain(line))?;
    }
    Ok(())
}

/// A state in words.
pub(crate) fn state(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Unhealthy => "unhealthy",
        State::Stopping => "stopping",
        State::BackingOff => "backing off",
        State::Stopped => "stopped",
        State::Failed => "failed",
        _ => "unknown",
    }
}

fn style(state: State) -> Style {
    let color = match state {
        State::Ready => AnsiColor::Green,
        State::Failed | State::BackingOff => AnsiColor::Red,
        State::Starting | State::Waiting | State::Unhealthy | State::Stopping => AnsiColor::Yellow,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(color.into()))
}

/// Whether its process runs.
fn lives(status: &Status) -> bool {
    matches!(status.state, State::Starting | State::Ready | State::Unhealthy | State::Stopping)
        && status.exit.is_none()
}

/// How long its process has run.
pub(super) fn uptime(status: &Status, now: u64) -> Option<Duration> {
    status.started.filter(|_| lives(status)).and_then(|started| since(started, now))
}

/// A clock that was set back shows nothing.
pub(super) fn since(at: u64, now: u64) -> Option<Duration> {
    now.checked_sub(at).map(Duration::from_millis)
}

/// A duration in its two largest units: `3m 12s`.
pub(super) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "it is only shown")]
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, text) in
            [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3599, "59m 59s"), (3600, "1h 0m"), (90_061, "1d 1h")]
        {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn texts_of_other_programs_do_not_control_the_terminal() {
        assert_eq!(plain("é\u{1b}[2J\u{7}\n\u{9b}x"), "é\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x");
    }

    #[test]
    fn the_details_of_a_sidecar_do_not_control_the_terminal() {
        let status = r#"{"sidecar":"a\u001b[2J","url":"b\u001b[2J","seq":1,"at":0,"state":"ready","readiness":"up","restarts":0}"#;
        let mut out = Vec::new();
        of_sidecar(&serde_json::from_str(status).unwrap(), 0, &mut out).unwrap();
        let out = anstream::adapter::strip_str(std::str::from_utf8(&out).unwrap()).to_string();
        assert!(out.starts_with("  a\u{fffd}[2J: ready at b\u{fffd}[2J"), "{out:?}");
    }

    #[test]
    fn only_a_process_that_runs_has_an_uptime() {
        let status = |state: &str, exit: &str| -> Status {
            let text = format!(
                r#"{{"sidecar":"a","seq":1,"at":0,"state":"{state}","readiness":"up","pid":7,"started":1000,"restarts":0,"exit":{exit}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(uptime(&status("ready", "null"), 4000), Some(Duration::from_secs(3)));
        assert_eq!(uptime(&status("ready", "null"), 500), None, "the clock was set back");
        assert_eq!(uptime(&status("failed", "null"), 4000), None);
        assert_eq!(uptime(&status("stopping", r#"{"code":0,"signal":null}"#), 4000), None);
    }
}
