//! What `pillion package` does at the moment: one row of a terminal, which the next one replaces. Nothing elsewhere.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::AnsiColor;

use super::report::color;

/// Goes to the start of the row, and clears it: CR and EL of ECMA-48.
const CLEAR_ROW: &str = "\r\x1b[K";
/// Text beyond the right edge of the terminal is cut off, because CR would not get back over several rows (DECAWM:
/// <https://vt100.net/docs/vt510-rm/DECAWM.html>).
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// How often the elapsed time is shown.
const TICK: Duration = Duration::from_secs(1);

/// Shows the current step with its time until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    shown: Option<(Arc<Shared>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is done, and since when.
    step: Option<(String, Instant)>,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        let plain = env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stderr().is_terminal() || plain || !understands_escapes() {
            return Self { shown: None };
        }
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("progress".to_owned()).spawn(move || draw(&of_thread));
        // A system without a further thread builds without progress.
        Self { shown: thread.ok().map(|thread| (shared, thread)) }
    }

    pub(super) fn show(&self, text: &str) {
        if let Some((shared, _)) = &self.shown {
            shared.state().step = Some((text.to_owned(), Instant::now()));
            shared.changed.notify_one();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((shared, thread)) = self.shown.take() {
            shared.state().ended = true;
            shared.changed.notify_one();
            let _ = thread.join();
        }
    }
}

/// Whether the terminal understands escape sequences. Prepares the console of Windows for them, also with `NO_COLOR`; an old console knows
/// colours by its own functions only.
fn understands_escapes() -> bool {
    AutoStream::always(io::stderr()).current_choice() == ColorChoice::AlwaysAnsi
}

/// Draws the row after each change and each [`TICK`], until the end.
fn draw(shared: &Shared) {
    let colors = AutoStream::choice(anstream::stderr().as_inner()) != ColorChoice::Never;
    let mut state = shared.state();
    while !state.ended {
        if let Some((text, since)) = &state.step {
            let row = row(text, since.elapsed(), colors);
            let mut stderr = io::stderr().lock();
            // A terminal that is gone is no reason to end the build.
            let _ = stderr.write_all(row.as_bytes()).and_then(|()| stderr.flush());
        }
        let waited = shared.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
        state = waited.0;
    }
    let _ = io::stderr().write_all(CLEAR_ROW.as_bytes());
}

fn row(text: &str, elapsed: Duration, colors: bool) -> String {
    let mark = if colors { color(AnsiColor::Yellow).bold() } else { anstyle::Style::new() };
    let time = match elapsed.as_secs() {
        0 => String::new(),
        seconds @ 1..60 => format!(" ({seconds} s)"),
        seconds => format!(" ({} min {} s)", seconds / 60, seconds % 60),
    };
    format!("{CLEAR_ROW}{NO_WRAP}{mark}▌ pillion{mark:#} {text}{time}{WRAP}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_step_and_its_time() {
        let plain = |seconds| row("1 of 2: api: go build", Duration::from_secs(seconds), false);
        let start = "\r\u{1b}[K\u{1b}[?7l▌ pillion 1 of 2: api: go build";
        assert_eq!(plain(0), format!("{start}\u{1b}[?7h"));
        assert_eq!(plain(59), format!("{start} (59 s)\u{1b}[?7h"));
        assert_eq!(plain(61), format!("{start} (1 min 1 s)\u{1b}[?7h"));
        assert!(row("", Duration::ZERO, true).contains("\u{1b}[33m"));
    }
}
