//! Draws `pillion top`.

use std::collections::VecDeque;

use pillion::State;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as TableRow, Table, TableState, Wrap},
};

use super::{
    super::{
        plain,
        render::{short, state, uptime},
    },
    model::{Model, Row},
};

const HEAD: [&str; 10] =
    ["APP", "SIDECAR", "STATE", "PID", "UP", "RESTARTS", "CPU", "MEMORY", "PROCS", "FILES"];
const WIDTHS: [Constraint; 10] = [
    Constraint::Fill(2),
    Constraint::Fill(2),
    Constraint::Length(11),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(20),
    Constraint::Length(22),
    Constraint::Length(5),
    Constraint::Length(5),
];
/// The width of a plot in the table.
const PLOT: usize = 12;
const KEYS: &str = "↑↓ select  / search  PgUp PgDn End scroll  Esc clear  q quit";

/// Draws all. `now` is the wall clock in milliseconds.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, now: u64) {
    let rows = match model.rows().len() {
        // Without a sidecar there is no output, either.
        0 => frame.area().height,
        rows => u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(1),
    };
    // The output gets at least half of the terminal.
    let table = rows.min((frame.area().height / 2).max(2));
    let [table, title, lines, keys] = Layout::vertical([
        Constraint::Length(table),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_table(frame, model, now, table);
    draw_title(frame, model, title);
    draw_lines(frame, model, lines);
    draw_keys(frame, model, keys);
}

fn draw_table(frame: &mut Frame<'_>, model: &Model, now: u64, area: Rect) {
    if model.rows().is_empty() {
        return frame.render_widget(Paragraph::new(model.nothing()).wrap(Wrap { trim: false }), area);
    }
    let rows = model.rows().iter().map(|row| cells(row, now));
    let table = Table::new(rows, WIDTHS)
        .header(TableRow::new(HEAD).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = model.rows().iter().position(|row| Some(&row.key) == model.selected());
    // Scrolls to the selected one.
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn cells(row: &Row, now: u64) -> TableRow<'static> {
    let (status, usage) = (&row.status, row.usage.as_ref());
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let up = uptime(status, now);
    let cpu = usage.and_then(|usage| usage.cpu_percent).map(|percent| format!("{percent:.1}%"));
    let memory = usage.and_then(|usage| usage.memory).map(bytes);
    // A plot of the processor reaches the top at one processor, or at the most that was used.
    let highest = row.cpu.iter().copied().fold(100.0, f64::max);
    TableRow::new([
        Cell::new(plain(&row.app)),
        Cell::new(plain(&status.sidecar)),
        Cell::new(state(status.state)).style(color(status.state)),
        Cell::new(or_none(status.pid.filter(|_| up.is_some()).map(|pid| pid.to_string()))),
        Cell::new(or_none(up.map(short))),
        Cell::new(status.restarts.to_string()),
        Cell::new(format!("{:>7} {}", or_none(cpu), plot(&row.cpu, highest))),
        Cell::new(format!("{:>9} {}", or_none(memory), plot(&row.memory, highest_of(&row.memory)))),
        Cell::new(or_none(usage.and_then(|usage| usage.processes).map(|number| number.to_string()))),
        Cell::new(or_none(usage.and_then(|usage| usage.descriptors).map(|number| number.to_string()))),
    ])
}

fn draw_title(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let row = model.rows().iter().find(|row| Some(&row.key) == model.selected());
    let mut text = row.map_or_else(String::new, |row| {
        let why = row.status.progress.as_ref().or(row.status.reason.as_ref());
        let why = why.map(|why| format!(": {}", plain(why))).unwrap_or_default();
        format!("── {}{why} ", plain(&row.status.sidecar))
    });
    if let Some(problem) = model.problem() {
        text += &format!("── {} ", plain(problem));
    }
    if model.back() > 0 {
        text += &format!("── {} more below ", model.back());
    }
    let rest = usize::from(area.width).saturating_sub(text.chars().count());
    text += &"─".repeat(rest);
    frame.render_widget(Paragraph::new(text).style(Style::new().fg(Color::DarkGray)), area);
}

fn draw_lines(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let lines = model.shown_lines(usize::from(area.height));
    let lines: Vec<_> = lines.into_iter().map(|line| marked(line, model.search())).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_keys(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let text = match (model.is_searching(), model.search()) {
        (true, search) => format!("/{search}█  Enter keep  Esc clear"),
        (false, "") => KEYS.to_owned(),
        (false, search) => format!("/{search}  {KEYS}"),
    };
    frame.render_widget(Paragraph::new(text).style(Style::new().add_modifier(Modifier::BOLD)), area);
}

/// The line with what is searched for marked, where the case is the same.
fn marked<'a>(line: &'a str, search: &str) -> Line<'a> {
    if search.is_empty() {
        return Line::raw(line);
    }
    let mut spans = Vec::new();
    let mut rest = 0;
    for (at, found) in line.match_indices(search) {
        spans.push(Span::raw(&line[rest..at]));
        spans.push(Span::styled(found, Style::new().add_modifier(Modifier::REVERSED)));
        rest = at + found.len();
    }
    spans.push(Span::raw(&line[rest..]));
    Line::from(spans)
}

/// The last values as a line of bars, from none to the highest.
fn plot(values: &VecDeque<f64>, highest: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = values.iter().skip(values.len().saturating_sub(PLOT));
    last.map(|value| {
        let share = if highest > 0.0 { (value / highest).clamp(0.0, 1.0) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 7")]
        BARS[(share * 7.0).round() as usize]
    })
    .collect()
}

fn highest_of(values: &VecDeque<f64>) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn bytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn color(state: State) -> Style {
    match state {
        State::Ready => Style::new().fg(Color::Green),
        State::Failed | State::BackingOff => Style::new().fg(Color::Red),
        State::Starting | State::Waiting | State::Unhealthy | State::Stopping => {
            Style::new().fg(Color::Yellow)
        }
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::model::{
            Press, Update,
            tests::{key, status, usage},
        },
        *,
    };

    /// The rows of a terminal of this size.
    fn drawn(model: &Model, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, 61_000)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.update(status(1, "shop", "web"));
        model.update(status(1, "shop", "worker"));
        for percent in [0.0, 50.0, 100.0] {
            model.update(usage(1, "web", percent, 300 << 20));
        }
        for number in 0..40 {
            model.update(Update::Line(key(1, "web"), format!("line {number}")));
        }
        model
    }

    #[test]
    fn a_sidecar_has_its_figures_and_plots_in_a_row() {
        let rows = drawn(&model(), 120, 20);
        let cells: Vec<_> = rows[1].split_whitespace().collect();
        assert_eq!(
            cells,
            ["shop", "web", "ready", "77", "1m", "0s", "2", "100.0%", "▁▅█", "300", "MiB", "███", "3", "40"]
        );
        assert!(rows[2].contains("worker") && !rows[2].contains('█'), "{rows:?}");
        assert!(rows[0].starts_with("APP") && rows[19].contains("q quit"), "{rows:?}");
    }

    #[test]
    fn the_newest_lines_of_the_selected_sidecar_fill_the_rest() {
        let rows = drawn(&model(), 120, 20);
        assert!(rows[3].starts_with("── web"), "{rows:?}");
        assert_eq!((rows[4].as_str(), rows[18].as_str()), ("line 25", "line 39"));
    }

    #[test]
    fn a_search_is_shown_and_leaves_only_what_fits() {
        let mut model = model();
        for letter in "/line 3".chars() {
            model.press(Press::Letter(letter));
        }
        let rows = drawn(&model, 120, 20);
        assert!(rows[19].starts_with("/line 3█"), "{rows:?}");
        let found: Vec<_> = rows[4..19].iter().filter(|row| !row.is_empty()).collect();
        assert_eq!(found.len(), 11, "line 3 and line 30 to 39: {rows:?}");
    }

    #[test]
    fn nothing_is_drawn_outside_of_a_small_terminal() {
        for (width, height) in [(1, 1), (10, 3), (40, 5), (300, 2)] {
            assert_eq!(drawn(&model(), width, height).len(), usize::from(height));
            assert_eq!(drawn(&Model::default(), width, height).len(), usize::from(height));
        }
    }

    #[test]
    fn a_long_reason_why_nothing_is_shown_has_the_place_of_the_table() {
        let mut model = Model::default();
        model.update(Update::Nothing("No app \"x\" runs. These apps run:\n  one\n  two".to_owned()));
        let rows = drawn(&model, 24, 12);
        assert_eq!(rows[..5], ["No app \"x\" runs. These", "apps run:", "  one", "  two", ""]);
    }

    #[test]
    fn the_selected_sidecar_is_shown_among_many() {
        let mut model = Model::default();
        for number in 10..60 {
            model.update(status(1, "shop", &format!("s{number}")));
        }
        for _ in 0..49 {
            model.press(Press::Down);
        }
        assert!(drawn(&model, 120, 20)[..10].iter().any(|row| row.contains("s59")));
    }
}
