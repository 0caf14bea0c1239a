//! The terminal while `pillion top` uses it.

use std::{
    io::{self, Stdout, Write},
    panic,
};

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

/// The terminal in its second screen, without echo. Drop restores it; a panic does so before its message is shown.
pub(super) struct Screen(Terminal<Ansi<Stdout>>);

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is no terminal, or it is gone.
    pub(super) fn open() -> io::Result<Self> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        let open = || {
            enable_raw_mode()?;
            execute!(io::stdout(), EnterAlternateScreen, Hide)?;
            Terminal::new(Ansi(io::stdout()))
        };
        open().map(Self).inspect_err(|_| restore())
    }

    /// Draws what has changed since the last time.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// An error means that the terminal is gone.
fn restore() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Writes cells as control sequences (ECMA-48).
pub(super) struct Ansi<W>(W);

impl<W: Write> Backend for Ansi<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let (mut style, mut next) = (Style::new(), None);
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                queue!(self.0, MoveTo(x, y))?;
            }
            // After a wide letter the cursor is further, and the next cell is not this one.
            next = Some((x.saturating_add(1), y));
            let of_cell = style_of(cell);
            if of_cell != style {
                write!(self.0, "{}{}", Reset.render(), of_cell.render())?;
                style = of_cell;
            }
            write!(self.0, "{}", cell.symbol())?;
        }
        write!(self.0, "{}", Reset.render())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        execute!(self.0, Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        execute!(self.0, Show)
    }

    /// The cursor is hidden: its place does not matter.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        execute!(self.0, MoveTo(x, y))
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
        execute!(self.0, Clear(region))
    }

    fn size(&self) -> io::Result<Size> {
        terminal::size().map(Size::from)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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
        let mut buffer = ratatui::buffer::Buffer::empty(Rect::new(0, 0, 4, 2));
        buffer.set_line(0, 0, &Line::styled("ab", CellStyle::new().fg(Color::Green)), 4);
        buffer.set_line(1, 1, &Line::raw("c"), 3);
        let cells = [(0, 0), (1, 0), (1, 1)].map(|(x, y)| (x, y, &buffer[(x, y)]));
        let mut ansi = Ansi(Vec::new());
        ansi.draw(cells.into_iter()).unwrap();
        let written = String::from_utf8(ansi.0).unwrap();
        assert_eq!(written, "\x1b[1;1H\x1b[0m\x1b[32mab\x1b[2;2H\x1b[0mc\x1b[0m");
    }
}
