//! The terminal while `pillion top` uses it.

use std::{
    io::{self, Stdout, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Effects, Reset, Style};
use crossterm::{
    cursor::{Hide, MoveTo, Show},
    execute, queue,
    terminal::{
        self, Clear, ClearType as CrosstermClear, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{
    Frame, Terminal,
    backend::{Backend, ClearType, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
    style::{Color, Modifier},
};

/// The terminal in its second screen, without echo. Drop restores it; a panic, of whatever thread, does so before its message is shown.
pub(super) struct Screen {
    terminal: Terminal<Ansi<Stdout>>,
    /// Whether a panic has restored it.
    is_lost: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is not a terminal, or it is gone.
    pub(super) fn open() -> io::Result<Self> {
        let is_lost = Arc::new(AtomicBool::new(false));
        let (hook, lost) = (panic::take_hook(), Arc::clone(&is_lost));
        panic::set_hook(Box::new(move |info| {
            lost.store(true, Ordering::SeqCst);
            restore();
            hook(info);
        }));
        let has_colors = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        let open = || {
            take()?;
            let terminal = Terminal::new(Ansi { output: io::stdout(), has_colors })?;
            Ok(Self { terminal, is_lost })
        };
        open().inspect_err(|_| restore())
    }

    /// Draws what has changed since the last time.
    ///
    /// # Errors
    /// The terminal is gone, or a panic has restored it.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(io::Error::other("a part of `pillion top` has failed"));
        }
        self.terminal.draw(draw).map(drop)
    }

    /// Gives the terminal back, until [`open_again`](Self::open_again).
    #[cfg(unix)]
    pub(super) fn leave(&self) {
        restore();
    }

    /// Takes the terminal again, which other programs may have used, and forgets what has been drawn.
    #[cfg(unix)]
    pub(super) fn open_again(&mut self) -> io::Result<()> {
        // What is taken already would not be taken again.
        restore();
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// An error means that the terminal is gone.
fn restore() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Writes cells as control sequences (ECMA-48).
struct Ansi<W> {
    output: W,
    /// Whether colours are wanted (`NO_COLOR`).
    has_colors: bool,
}

impl<W: Write> Backend for Ansi<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let (mut style, mut next) = (Style::new(), None);
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                queue!(self.output, MoveTo(x, y))?;
            }
            // After a wide letter the cursor is further, and the next cell is not this one.
            next = Some((x.saturating_add(1), y));
            let of_cell = style_of(cell);
            let of_cell = if self.has_colors { of_cell } else { of_cell.fg_color(None) };
            if of_cell != style {
                write!(self.output, "{}{}", Reset.render(), of_cell.render())?;
                style = of_cell;
            }
            write!(self.output, "{}", cell.symbol())?;
        }
        write!(self.output, "{}", Reset.render())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        execute!(self.output, Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        execute!(self.output, Show)
    }

    /// The cursor is hidden: its place does not matter.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        execute!(self.output, MoveTo(x, y))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        let region = match region {
            ClearType::All => CrosstermClear::All,
            ClearType::AfterCursor => CrosstermClear::FromCursorDown,
            ClearType::BeforeCursor => CrosstermClear::FromCursorUp,
            ClearType::CurrentLine => CrosstermClear::CurrentLine,
            ClearType::UntilNewLine => CrosstermClear::UntilNewLine,
        };
        execute!(self.output, Clear(region))
    }

    fn size(&self) -> io::Result<Size> {
        terminal::size().map(Size::from)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The colours and effects that `view.rs` uses.
fn style_of(cell: &Cell) -> Style {
    let color = match cell.fg {
        Color::Green => Some(AnsiColor::Green),
        Color::Red => Some(AnsiColor::Red),
        Color::Yellow => Some(AnsiColor::Yellow),
        Color::DarkGray => Some(AnsiColor::BrightBlack),
        _ => None,
    };
    let mut effects = Effects::new();
    if cell.modifier.contains(Modifier::BOLD) {
        effects |= Effects::BOLD;
    }
    if cell.modifier.contains(Modifier::REVERSED) {
        effects |= Effects::INVERT;
    }
    Style::new().fg_color(color.map(Into::into)).effects(effects)
}

#[cfg(test)]
mod tests {
    use ratatui::{layout::Rect, style::Style as CellStyle, text::Line};

    use super::*;

    #[test]
    fn cells_are_written_with_their_places_and_styles() {
        assert_eq!(written(true), "\x1b[1;1H\x1b[0m\x1b[32mab\x1b[2;2H\x1b[0mc\x1b[0m");
        assert_eq!(written(false), "\x1b[1;1Hab\x1b[2;2Hc\x1b[0m");
    }

    fn written(has_colors: bool) -> String {
        let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, 4, 2));
        buffer.set_line(0, 0, &Line::styled("ab", CellStyle::new().fg(Color::Green)), 4);
        buffer.set_line(1, 1, &Line::raw("c"), 3);
        let cells = [(0, 0), (1, 0), (1, 1)].map(|(x, y)| (x, y, &buffer[(x, y)]));
        let mut ansi = Ansi { output: Vec::new(), has_colors };
        ansi.draw(cells.into_iter()).unwrap();
        String::from_utf8(ansi.output).unwrap()
    }
}
