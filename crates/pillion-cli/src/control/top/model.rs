//! What `pillion top` knows and shows, without a terminal and without a connection.

use std::collections::VecDeque;

use pillion::{Status, Usage};

use super::super::plain;

/// How many values a plot has at most.
pub(super) const PLOTTED: usize = 60;
/// How many lines of output are kept at most, of the selected sidecar alone.
const LINES: usize = 5_000;
/// How many lines a page is.
const PAGE: usize = 10;

/// Which sidecar of which app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// The process id of the app.
    pub(super) app: u32,
    pub(super) sidecar: String,
}

/// What an app told.
#[derive(Debug)]
pub(super) enum Update {
    /// The status of a sidecar of the app of this name.
    Status(Key, String, Box<Status>),
    Usage(Key, Box<Usage>),
    Line(Key, String),
    /// That many lines are missing here.
    Missed(Key, u64),
    /// Something that a person should know of the app with this process id.
    Problem(u32, String),
    /// What to say while there is no sidecar, in lines.
    Nothing(String),
}

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    Letter(char),
    Up,
    Down,
    PageUp,
    PageDown,
    End,
    Backspace,
    Enter,
    Escape,
    Quit,
}

/// One sidecar.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    /// The name of its app.
    pub(super) app: String,
    pub(super) status: Status,
    pub(super) usage: Option<Usage>,
    /// In percent of one processor, oldest first.
    pub(super) cpu: VecDeque<f64>,
    /// In bytes, oldest first.
    pub(super) memory: VecDeque<f64>,
}

/// A line of output.
#[derive(Debug)]
struct Line {
    text: String,
    /// The same in lower case, for the search.
    lower: String,
    /// Whether the search finds it.
    fits: bool,
}

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    rows: Vec<Row>,
    selected: Option<Key>,
    /// Of the selected sidecar.
    lines: VecDeque<Line>,
    /// How many of them the search finds.
    fitting: usize,
    search: String,
    /// The same in lower case.
    lower_search: String,
    /// Whether letters go to the search.
    is_searching: bool,
    /// How many lines that fit the search come after the last one that is shown.
    back: usize,
    /// Of which app, and which.
    problem: Option<(u32, String)>,
    /// What to say while there is no sidecar.
    nothing: String,
    has_quit: bool,
    revision: u64,
}

impl Model {
    /// Changes with everything that is shown.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The sidecars by app, process id and name.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn selected(&self) -> Option<&Key> {
        self.selected.as_ref()
    }

    pub(super) fn search(&self) -> &str {
        &self.search
    }

    pub(super) fn is_searching(&self) -> bool {
        self.is_searching
    }

    /// How many lines below the last shown one are not shown.
    pub(super) fn back(&self) -> usize {
        self.back
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_ref().map(|(_, problem)| problem.as_str())
    }

    /// What to say while there is no sidecar, in lines; empty until that is known.
    pub(super) fn nothing(&self) -> &str {
        &self.nothing
    }

    pub(super) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// The lines that are shown in so many rows of the terminal, oldest first.
    pub(super) fn shown_lines(&self, height: usize) -> Vec<&str> {
        let fits = self.lines.iter().rev().filter(|line| line.fits);
        let mut lines: Vec<_> = fits.skip(self.back).take(height).map(|line| line.text.as_str()).collect();
        lines.reverse();
        lines
    }

    pub(super) fn update(&mut self, update: Update) {
        self.revision += 1;
        match update {
            Update::Status(key, app, status) => self.set_status(key, app, *status),
            Update::Usage(key, usage) => {
                if let Some(row) = self.rows.iter_mut().find(|row| row.key == key) {
                    push(&mut row.cpu, usage.cpu_percent.unwrap_or_default(), PLOTTED);
                    push(&mut row.memory, usage.memory.unwrap_or_default() as f64, PLOTTED);
                    row.usage = Some(*usage);
                }
            }
            Update::Line(key, line) => self.add_line(&key, line),
            Update::Missed(key, lines) => {
                self.add_line(&key, format!("({lines} lines are missing here: they came too fast)"));
            }
            Update::Problem(app, problem) => self.problem = Some((app, problem)),
            Update::Nothing(text) => self.nothing = text,
        }
    }

    /// The app is there, or there again.
    pub(super) fn found(&mut self, app: u32) {
        self.revision += 1;
        self.problem.take_if(|(of, _)| *of == app);
    }

    /// The app is gone.
    pub(super) fn remove(&mut self, app: u32) {
        self.revision += 1;
        let at = self.selected_index();
        self.rows.retain(|row| row.key.app != app);
        if self.selected_index().is_none() {
            self.select(at.unwrap_or_default());
        }
    }

    pub(super) fn press(&mut self, press: Press) {
        self.revision += 1;
        match (press, self.is_searching) {
            (Press::Quit, _) | (Press::Letter('q'), false) => self.has_quit = true,
            (Press::Letter(letter), true) => {
                self.search.push(letter);
                self.find();
            }
            (Press::Backspace, true) => {
                self.search.pop();
                self.find();
            }
            (Press::Enter, true) => self.is_searching = false,
            (Press::Letter('/'), false) => self.is_searching = true,
            (Press::Escape, _) => {
                self.search.clear();
                self.is_searching = false;
                self.find();
            }
            (Press::Up, _) | (Press::Letter('k'), false) => self.move_selection(-1),
            (Press::Down, _) | (Press::Letter('j'), false) => self.move_selection(1),
            (Press::PageUp, _) => self.back = (self.back + PAGE).min(self.last_page()),
            (Press::PageDown, _) => self.back = self.back.saturating_sub(PAGE),
            (Press::End, _) => self.back = 0,
            (Press::Letter(_) | Press::Backspace | Press::Enter, false) => {}
        }
    }

    fn set_status(&mut self, key: Key, app: String, status: Status) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.key == key) {
            row.status = status;
            return;
        }
        let row = Row { key, app, status, usage: None, cpu: VecDeque::new(), memory: VecDeque::new() };
        self.rows.push(row);
        self.rows.sort_by(|one, other| {
            let order = |row: &Row| (row.app.to_lowercase(), row.key.app, row.key.sidecar.clone());
            order(one).cmp(&order(other))
        });
        if self.selected.is_none() {
            self.select(0);
        }
    }

    fn add_line(&mut self, key: &Key, line: String) {
        // A line of the sidecar that was selected before may come late.
        if self.selected.as_ref() != Some(key) {
            return;
        }
        let text = plain(&line);
        let lower = text.to_lowercase();
        let fits = lower.contains(&self.lower_search);
        let evicted = push(&mut self.lines, Line { text, lower, fits }, LINES);
        self.fitting += usize::from(fits);
        self.fitting -= usize::from(evicted.is_some_and(|line| line.fits));
        // A view of past lines goes on to show the same ones.
        if self.back > 0 {
            self.back = (self.back + usize::from(fits)).min(self.last_page());
        }
    }

    /// Finds the lines that contain what is searched for, in any case, and shows the newest ones.
    fn find(&mut self) {
        self.lower_search = self.search.to_lowercase();
        self.lines.iter_mut().for_each(|line| line.fits = line.lower.contains(&self.lower_search));
        self.fitting = self.lines.iter().filter(|line| line.fits).count();
        self.back = 0;
    }

    /// How far one can scroll back, so that a line is shown.
    fn last_page(&self) -> usize {
        self.fitting.saturating_sub(1)
    }

    fn selected_index(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows.iter().position(|row| row.key == *selected)
    }

    fn move_selection(&mut self, by: isize) {
        let at = self.selected_index().unwrap_or_default();
        self.select(at.saturating_add_signed(by));
    }

    /// Selects the sidecar in this row, or the last one.
    fn select(&mut self, row: usize) {
        let key = self.rows.get(row.min(self.rows.len().saturating_sub(1))).map(|row| row.key.clone());
        if key != self.selected {
            (self.selected, self.back) = (key, 0);
            self.lines.clear();
            self.fitting = 0;
        }
    }
}

/// Appends a value. Returns the oldest one if it has no place any more.
fn push<T>(values: &mut VecDeque<T>, value: T, limit: usize) -> Option<T> {
    let evicted = if values.len() == limit { values.pop_front() } else { None };
    values.push_back(value);
    evicted
}

#[cfg(test)]
pub(super) mod tests;
