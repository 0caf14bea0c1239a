//! Shows the output of sidecars, and what happens to them, on stderr.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Color, Style};
use pillion_guard::log_lines::ansi;
use tokio::{runtime, sync::watch, task::JoinSet};

use crate::{
    output::OutputBatch,
    report::{
        events::{Events, SidecarEvent},
        status_messages::{MessageTone, StatusMessages},
    },
    task::task,
};

/// The colours of the sidecars, in the order of their names. Red is left for failures.
const COLORS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
];

/// After which time a full stderr that is non-blocking is tried again.
const FULL_WAIT: Duration = Duration::from_millis(10);

/// Shows the output of sidecars, and what happens to them, on stderr, as a developer wants to see it:
///
/// ```text
/// backend  ▌ is starting as process 4711
/// backend  │ listening on port 4242
/// database ▌ exited with code 3 after 12 ms, before it announced a port; starting it again
/// ```
///
/// Each sidecar has its colour, and the colours of its output stay, if stderr is a terminal and `NO_COLOR` is not set. Other control
/// sequences of its output are removed. A line without a newline is shown once it is complete.
///
/// A thread of its own writes: neither a sidecar nor a supervisor waits for a slow terminal. A terminal that is too slow misses output,
/// and says so. The thread ends when all sidecars are down for good, with [`finish`](Self::finish), or when stderr is closed; dropping this
/// value does not end it.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use pillion::{Spec, Supervisor, TerminalOutput};
///
/// let (backend, events) = Supervisor::start(Spec::run("backend", "./backend"));
/// let terminal = TerminalOutput::start([events])?;
/// backend.close().await;
/// terminal.finish(std::time::Duration::from_millis(200));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TerminalOutput {
    finish: watch::Sender<bool>,
    finished: Mutex<mpsc::Receiver<()>>,
}

impl TerminalOutput {
    /// Shows these events, one stream for each sidecar.
    ///
    /// # Errors
    /// The system has no resources for a thread.
    pub fn start(events: impl IntoIterator<Item = Events>) -> io::Result<Self> {
        let (finish, asked) = watch::channel(false);
        let (ended, finished) = mpsc::channel();
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        let writers = writers(events, anstream::stderr().current_choice() != ColorChoice::Never);
        let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("pillion-terminal".to_owned()).spawn(move || {
            let mut all = JoinSet::new();
            for (events, writer) in writers {
                let shown = task(show(events, writer, asked.clone(), Arc::clone(&turn)));
                all.spawn_on(shown, runtime.handle());
            }
            runtime.block_on(async { while all.join_next().await.is_some() {} });
            drop(ended);
        })?;
        Ok(Self { finish, finished: Mutex::new(finished) })
    }

    /// Shows the events that have come until now, and then no more. Returns once they are shown, or after this time, if the terminal is slow.
    /// It blocks the calling thread. Call it when the program ends, because the end of the program ends the thread, too.
    pub fn finish(&self, limit: Duration) {
        self.finish.send_replace(true);
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread sends nothing: either it has ended, or the time is over.
        let _ = finished.recv_timeout(limit);
    }
}

/// The writer for each sidecar. The names of all are as wide as the longest one.
fn writers(events: impl IntoIterator<Item = Events>, colors: bool) -> Vec<(Events, Lines)> {
    let events: Vec<_> = events.into_iter().map(|events| (events.sidecar(), events)).collect();
    let names: BTreeSet<_> = events.iter().map(|(name, _)| name.clone()).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let writer = |(name, events): (String, Events)| {
        let color = COLORS[names.iter().position(|other| *other == name).unwrap_or_default() % COLORS.len()];
        (
            events,
            Lines { name, width, color: colors.then(|| color.into()), messages: StatusMessages::default() },
        )
    };
    events.into_iter().map(writer).collect()
}

/// Shows the events of one sidecar until they end, until stderr is closed, or until it is asked to finish.
async fn show(
    mut events: Events,
    mut lines: Lines,
    mut asked: watch::Receiver<bool>,
    turn: Arc<tokio::sync::Mutex<()>>,
) {
    loop {
        let event = tokio::select! {
            // What has come is shown before the end.
            biased;
            event = events.next() => event,
            _ = asked.wait_for(|asked| *asked) => return,
        };
        let Some(event) = event else { return };
        let text = lines.of(&event);
        // One write for all lines of an event: the lines of other processes come before or after them.
        let _turn = turn.lock().await;
        let write = |rest: &[u8]| anstream::stderr().lock().write(rest);
        if write_all(text.as_bytes(), write).await.is_err() {
            return;
        }
    }
}

/// Writes all of it. Another program that shares stderr may have made it non-blocking (`O_NONBLOCK` belongs to the open file, open(2)), as
/// Node does with a pipe: what it does not take now is written later.
async fn write_all(mut text: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    while !text.is_empty() {
        match write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(FULL_WAIT).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the lines of one sidecar.
#[derive(Debug)]
struct Lines {
    name: String,
    width: usize,
    /// `None` if the terminal shows no colours.
    color: Option<Color>,
    messages: StatusMessages,
}

impl Lines {
    /// The lines that show this event, each with its newline.
    fn of(&mut self, event: &SidecarEvent) -> String {
        let mut text = String::new();
        if let SidecarEvent::Output(batch) = event {
            self.output(batch, &mut text);
        }
        for message in self.messages.messages_for(event) {
            let color = match message.tone {
                MessageTone::Good => AnsiColor::Green,
                MessageTone::Note => AnsiColor::Yellow,
                MessageTone::Bad => AnsiColor::Red,
            };
            let style = Style::new().fg_color(self.color.and(Some(color.into()))).bold();
            // The name stands before the mark already.
            let about = message.text.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix(' '));
            let plain: String = about
                .unwrap_or(&message.text)
                .chars()
                .map(|letter| if letter.is_control() { ' ' } else { letter })
                .collect();
            self.line(style, "▌", &plain, &mut text);
        }
        text
    }

    fn output(&self, batch: &OutputBatch, text: &mut String) {
        for line in batch.lines() {
            let line = line.text();
            let shown = ansi::keep_colors(&line);
            let shown = if self.color.is_some() { shown } else { ansi::strip(&shown).into_owned().into() };
            self.line(Style::new().fg_color(self.color), "│", &shown, text);
        }
    }

    fn line(&self, mark_style: Style, mark: &str, line: &str, text: &mut String) {
        let name_style = Style::new().fg_color(self.color);
        let (name, width) = (&self.name, self.width);
        // Writing to a string cannot fail.
        let _ = if self.color.is_some() {
            writeln!(text, "{name_style}{name:width$}{name_style:#} {mark_style}{mark}{mark_style:#} {line}")
        } else {
            writeln!(text, "{name:width$} {mark} {line}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_terminal_that_does_not_block_gets_the_rest_later() {
        let (mut shown, mut calls) = (Vec::new(), 0);
        let write = |rest: &[u8]| {
            calls += 1;
            match calls % 3 {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    let part = &rest[..rest.len().min(4)];
                    shown.extend_from_slice(part);
                    Ok(part.len())
                }
            }
        };
        write_all(b"a line that is long\n", write).await.unwrap();
        assert_eq!(shown, b"a line that is long\n");
        let closed = write_all(b"text", |_| Err(io::ErrorKind::BrokenPipe.into())).await;
        assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
