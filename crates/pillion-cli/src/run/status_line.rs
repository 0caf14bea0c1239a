//! The last row of a terminal, in which `pillion run` shows how the program is now.

use std::{env, fmt, io::IsTerminal as _};

use pillion::{SidecarEvent, State, Status, Usage};
use tokio::time::{Duration, Instant};

use crate::control::render;

/// How the program is now.
#[derive(Debug)]
pub(crate) struct StatusLine {
    status: Option<Box<Status>>,
    /// When the present state began.
    since: Instant,
    restarts: u32,
    memory: Option<u64>,
}

impl StatusLine {
    /// A status line, if one may be shown: stderr is a terminal that understands control sequences, and plain output is not asked for
    /// (<https://no-color.org>).
    pub(crate) fn new() -> Option<Self> {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").map_or(cfg!(unix), |term| term == "dumb");
        let shown = std::io::stderr().is_terminal() && !dumb && !is_set("NO_COLOR");
        shown.then(|| Self { status: None, since: Instant::now(), restarts: 0, memory: None })
    }

    /// Takes what is new.
    pub(crate) fn event(&mut self, event: &SidecarEvent) {
        let SidecarEvent::Status(status) = event else { return };
        let before = self.status.as_ref().map(|status| (status.state, status.pid));
        if before != Some((status.state, status.pid)) {
            self.since = Instant::now();
        }
        if status.state == State::BackingOff && before.is_none_or(|(state, _)| state != State::BackingOff) {
            self.restarts += 1;
        }
        if status.pid.is_none() {
            self.memory = None;
        }
        self.status = Some(status.clone());
    }

    /// Takes what its processes use now.
    pub(crate) fn usage(&mut self, usage: &Usage) {
        self.memory = usage.memory;
    }

    /// The text of the row. `None` before the first status, and once the program is down.
    pub(crate) fn text(&self, now: Instant) -> Option<String> {
        let status = self.status.as_ref()?;
        if matches!(status.state, State::Stopped | State::Failed) {
            return None;
        }
        let mut text =
            format!("{} {}", render::state(status.state), Age(now.saturating_duration_since(self.since)));
        if let Some(progress) = &status.progress {
            text += &format!(" · {progress}");
        }
        match self.restarts {
            0 => {}
            1 => text += " · 1 restart",
            restarts => text += &format!(" · {restarts} restarts"),
        }
        if let Some(memory) = self.memory {
            text += &format!(" · {} MiB", memory.div_ceil(1 << 20));
        }
        Some(text)
    }
}

/// A time in its two largest units.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{minutes} min {} s", seconds % 60),
            3600..86_400 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(Age(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
