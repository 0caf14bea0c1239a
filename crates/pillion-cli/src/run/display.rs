//! What `pillion run` shows: lines for people, or JSON for programs.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal, Write},
};

use anstream::{ColorChoice, adapter::strip_str};
use anstyle::{AnsiColor, Style};
use pillion::{
    Exit, ExitReport, MessageTone, OutputBatch, OutputStream, Readiness, SidecarEvent, State, StatusMessage,
    StatusMessages, UnfinishedLine, Usage,
};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::status_line::StatusLine;

/// Shows events. An error means that the output is closed.
pub(crate) trait EventPrinter {
    fn show(&mut self, event: &SidecarEvent) -> io::Result<()>;

    /// Whether it shows how the program is now, so that [`tick`](Self::tick) is to be called each second.
    fn is_live(&self) -> bool {
        false
    }

    /// Shows how the program is now, and what its processes use if that is new.
    fn tick(&mut self, _usage: Option<&Usage>) -> io::Result<()> {
        Ok(())
    }
}

/// One JSON object a line, on stdout.
#[derive(Debug)]
pub(crate) struct Json;

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum JsonEvent<'a> {
    State {
        at: u64,
        state: State,
        readiness: Readiness,
        pid: Option<u32>,
        port: Option<u16>,
        /// How far the program says it is.
        progress: Option<&'a str>,
        reason: Option<&'a str>,
        exit: Option<Exit>,
    },
    Output {
        stream: OutputStream,
        line: Cow<'a, str>,
        /// The number of bytes that were cut off the end of the line.
        #[serde(skip_serializing_if = "is_zero")]
        dropped: u64,
    },
    /// What a terminal shows of a line that has no newline yet. At its end the whole line comes as `output`.
    Unfinished {
        stream: OutputStream,
        line: &'a str,
    },
    Notice {
        message: &'a str,
    },
    /// A run has ended. Comes before the state that follows.
    Exit {
        #[serde(flatten)]
        report: &'a ExitReport,
        /// The same in words.
        summary: String,
    },
    /// Events that came faster than they could be written.
    Missed {
        count: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl EventPrinter for Json {
    fn show(&mut self, event: &SidecarEvent) -> io::Result<()> {
        let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let mut write = |event: JsonEvent<'_>| {
            serde_json::to_writer(&mut out, &event)?;
            out.write_all(b"\n")
        };
        match event {
            SidecarEvent::Status(status) => write(JsonEvent::State {
                at: status.at,
                state: status.state,
                readiness: status.readiness,
                pid: status.pid,
                port: status.port.map(Into::into),
                progress: status.progress.as_deref(),
                reason: status.reason.as_deref(),
                exit: status.exit,
            })?,
            SidecarEvent::Output(batch) => {
                for line in batch.lines() {
                    let (text, dropped) = (String::from_utf8_lossy(line.bytes), line.dropped);
                    write(JsonEvent::Output { stream: batch.stream, line: text, dropped })?;
                }
            }
            SidecarEvent::Unfinished(line) => {
                write(JsonEvent::Unfinished { stream: line.stream, line: &line.text })?;
            }
            SidecarEvent::Notice(message) => write(JsonEvent::Notice { message })?,
            SidecarEvent::Ended(report) => write(JsonEvent::Exit { report, summary: report.summary() })?,
            SidecarEvent::Missed(count) => write(JsonEvent::Missed { count: *count })?,
            // The format has no line for unknown events.
            _ => {}
        }
        out.flush()
    }
}

/// Lines for people: the program's stdout goes to stdout, its stderr and our messages go to stderr.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    messages: StatusMessages,
    /// The terminal whose last row shows an unfinished line.
    unfinished: Option<OutputStream>,
    /// How the program is now, if that is to be shown.
    status_line: Option<StatusLine>,
    /// When it was shown for the last time, and whether it still is.
    drawn: Option<Instant>,
    is_drawn: bool,
}

/// A flood of output must not draw the status line each time.
const REDRAW: Duration = Duration::from_millis(100);

impl Terminal {
    /// With a last row that shows how the program is now.
    pub(crate) fn with_status_line(status_line: Option<StatusLine>) -> Self {
        Self { status_line, ..Self::default() }
    }

    fn clear_status(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_drawn) && is_in_foreground() {
            io::stderr().write_all(CLEAR_ROW)
        } else {
            Ok(())
        }
    }

    /// Draws the status line in the last row, unless the program has begun a line there.
    fn draw_status(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let text = self.status_line.as_ref().and_then(|line| line.text(now));
        let Some(text) = text.filter(|_| self.unfinished.is_none() && is_in_foreground()) else {
            return Ok(());
        };
        (self.is_drawn, self.drawn) = (true, Some(now));
        let mark = Style::new().dimmed();
        let mut stderr = anstream::stderr().lock();
        write!(stderr, "\r\x1b[K{NO_WRAP}{mark}▌ {text}{mark:#}{WRAP}")?;
        stderr.flush()
    }
}

/// Whether the row belongs to this program. In the background it is that of the shell, and writing may stop the process (SIGTTOU,
/// termios(3)).
#[cfg(unix)]
fn is_in_foreground() -> bool {
    // A terminal that does not control this session has no shell of it.
    rustix::termios::tcgetpgrp(io::stderr()).map_or(true, |group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

impl EventPrinter for Terminal {
    fn show(&mut self, event: &SidecarEvent) -> io::Result<()> {
        self.clear_status()?;
        self.show_event(event)?;
        if let Some(line) = &mut self.status_line {
            line.event(event);
        }
        let is_output = matches!(event, SidecarEvent::Output(_));
        if is_output && self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return Ok(());
        }
        self.draw_status()
    }

    fn is_live(&self) -> bool {
        self.status_line.is_some()
    }

    fn tick(&mut self, usage: Option<&Usage>) -> io::Result<()> {
        if let (Some(line), Some(usage)) = (&mut self.status_line, usage) {
            line.usage(usage);
        }
        self.draw_status()
    }
}

impl Terminal {
    fn show_event(&mut self, event: &SidecarEvent) -> io::Result<()> {
        match self.unfinished.take() {
            Some(OutputStream::Stdout) => io::stdout().write_all(CLEAR_ROW)?,
            Some(OutputStream::Stderr) => io::stderr().write_all(CLEAR_ROW)?,
            None => {}
        }
        match event {
            SidecarEvent::Unfinished(line) => self.unfinished(line),
            SidecarEvent::Output(batch) => match batch.stream {
                OutputStream::Stdout => copy(batch, io::stdout().lock()),
                OutputStream::Stderr => copy(batch, io::stderr().lock()),
            },
            event => self.messages.messages_for(event).into_iter().try_for_each(
                |StatusMessage { tone, text, .. }| {
                    let color = match tone {
                        MessageTone::Good => AnsiColor::Green,
                        MessageTone::Bad => AnsiColor::Red,
                        _ => AnsiColor::Yellow,
                    };
                    say(color, &text)
                },
            ),
        }
    }
}

/// Goes to the start of the row, ends colours, and clears the row: CR, SGR 0 and EL of ECMA-48.
const CLEAR_ROW: &[u8] = b"\r\x1b[0m\x1b[K";
/// Turns the wrapping of long lines off, so that a line stays in its row and can be cleared, and on again (DECAWM of the VT220).
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

impl Terminal {
    /// Shows a line that has no newline yet. On a terminal, the next output replaces it. Elsewhere it is a message on stderr:
    /// a program that reads the stdout gets complete lines only.
    fn unfinished(&mut self, line: &UnfinishedLine) -> io::Result<()> {
        let text = &line.text;
        let plain = env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !plain && line.stream == OutputStream::Stdout && io::stdout().is_terminal() {
            self.unfinished = Some(OutputStream::Stdout);
            let mut stdout = io::stdout().lock();
            write!(stdout, "{NO_WRAP}{text}{WRAP}")?;
            stdout.flush()
        } else if !plain && io::stderr().is_terminal() {
            self.unfinished = Some(OutputStream::Stderr);
            write!(io::stderr().lock(), "{NO_WRAP}{text}{WRAP}")
        } else {
            let stream = if line.stream == OutputStream::Stdout { "stdout" } else { "stderr" };
            say(AnsiColor::Yellow, &format!("unfinished line on {stream}: {text}"))
        }
    }
}

/// Writes the lines in one call, unchanged if `to` takes any bytes.
fn copy(batch: &OutputBatch, mut to: impl Write + IsTerminal) -> io::Result<()> {
    let mut text = Vec::new();
    for line in batch.lines() {
        text.extend_from_slice(line.bytes);
        if line.dropped > 0 {
            write!(text, " … ({} bytes more)", line.dropped)?;
        }
        text.push(b'\n');
    }
    let takes_text_alone = cfg!(windows) && to.is_terminal();
    to.write_all(&shown(&text, takes_text_alone))?;
    to.flush()
}

/// What a terminal shows of these bytes. std fails to write to a console of Windows what is not UTF-8 ([`std::io::Stdout`]), and programs
/// there write in the code page of the system: the failure would look like a closed output, which ends the program.
fn shown(bytes: &[u8], takes_text_alone: bool) -> Cow<'_, [u8]> {
    // All other output is not even looked at.
    if !takes_text_alone {
        return Cow::Borrowed(bytes);
    }
    match String::from_utf8_lossy(bytes) {
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        Cow::Borrowed(_) => Cow::Borrowed(bytes),
    }
}

/// Writes a message of `pillion run` itself, with a mark that tells it from the program's output. One call writes it: other programs may
/// write to the same terminal or log.
fn say(color: AnsiColor, text: &str) -> io::Result<()> {
    let mark = Style::new().fg_color(Some(color.into())).bold();
    let line = format!("{mark}▌ pillion{mark:#} {text}\n");
    let mut stderr = anstream::stderr();
    if stderr.current_choice() == ColorChoice::Never {
        // That stream would write what is between the colours by a call each.
        return io::stderr().write_all(strip_str(&line).to_string().as_bytes());
    }
    stderr.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_of_windows_gets_text_alone_and_all_others_the_bytes() {
        let latin = b"f\xfcr\n";
        assert_eq!(*shown(latin, false), latin[..]);
        assert_eq!(*shown(latin, true), *"f\u{fffd}r\n".as_bytes());
        let text = "für\n".as_bytes();
        assert_eq!((&*shown(text, true), &*shown(text, false)), (text, text));
    }
}
