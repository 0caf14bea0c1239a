//! What `pillion top` knows and shows, without a terminal and without a connection.

use std::collections::VecDeque;

use pillion::{Status, Usage};

use super::super::render::plain;

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
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn key(app: u32, sidecar: &str) -> Key {
        Key { app, sidecar: sidecar.to_owned() }
    }

    pub(in super::super) fn status(app: u32, name: &str, sidecar: &str) -> Update {
        let text = format!(
            r#"{{"sidecar":"{sidecar}","seq":1,"at":0,"state":"ready","readiness":"up","pid":77,"started":1000,"restarts":2}}"#
        );
        Update::Status(key(app, sidecar), name.to_owned(), Box::new(serde_json::from_str(&text).unwrap()))
    }

    pub(in super::super) fn usage(app: u32, sidecar: &str, cpu: f64, memory: u64) -> Update {
        let text = format!(
            r#"{{"sidecar":"{sidecar}","at":1,"run":1,"cpuPercent":{cpu},"memory":{memory},"processes":3,"descriptors":40}}"#
        );
        Update::Usage(key(app, sidecar), Box::new(serde_json::from_str(&text).unwrap()))
    }

    fn line(app: u32, sidecar: &str, text: &str) -> Update {
        Update::Line(key(app, sidecar), text.to_owned())
    }

    fn two() -> Model {
        let mut model = Model::default();
        model.update(status(2, "shop", "web"));
        model.update(status(1, "mail", "sync"));
        model.update(status(1, "mail", "index"));
        model
    }

    #[test]
    fn sidecars_are_sorted_and_the_selection_stays_with_its_sidecar() {
        let mut model = two();
        let order: Vec<_> = model.rows().iter().map(|row| row.key.sidecar.as_str()).collect();
        assert_eq!(order, ["index", "sync", "web"]);
        assert_eq!(model.selected(), Some(&key(2, "web")), "the first that came");
        model.press(Press::Down);
        assert_eq!(model.selected(), Some(&key(2, "web")), "it is the last one");
        model.press(Press::Letter('k'));
        assert_eq!(model.selected(), Some(&key(1, "sync")));
        model.remove(1);
        assert_eq!((model.selected(), model.rows().len()), (Some(&key(2, "web")), 1));
        model.remove(2);
        assert_eq!(model.selected(), None);
        model.press(Press::Up);
        assert_eq!(model.selected(), None);
    }

    #[test]
    fn only_lines_of_the_selected_sidecar_that_fit_the_search_are_shown() {
        let mut model = two();
        for text in ["GET /a", "Error: b", "GET /c", "error d\u{1b}[2J"] {
            model.update(line(2, "web", text));
            model.update(line(1, "sync", "other"));
        }
        assert_eq!(model.shown_lines(2), ["GET /c", "error d\u{fffd}[2J"]);
        for letter in "/ERROR".chars() {
            model.press(Press::Letter(letter));
        }
        model.press(Press::Enter);
        assert_eq!(model.shown_lines(9), ["Error: b", "error d\u{fffd}[2J"]);
        model.press(Press::Escape);
        assert_eq!((model.shown_lines(9).len(), model.search()), (4, ""));
        model.press(Press::Up);
        assert!(model.shown_lines(9).is_empty(), "the lines of another sidecar");
    }

    #[test]
    fn a_letter_is_text_in_a_search_and_a_command_outside_of_it() {
        let mut model = two();
        model.press(Press::Letter('/'));
        model.press(Press::Letter('q'));
        assert!(model.is_searching() && !model.has_quit() && model.search() == "q");
        model.press(Press::Backspace);
        assert_eq!(model.search(), "");
        model.press(Press::Enter);
        model.press(Press::Letter('q'));
        assert!(model.has_quit());
    }

    #[test]
    fn a_view_of_past_lines_stays_while_new_lines_come() {
        let mut model = two();
        for number in 0..30 {
            model.update(line(2, "web", &number.to_string()));
        }
        model.press(Press::PageUp);
        assert_eq!(model.shown_lines(2), ["18", "19"]);
        model.update(line(2, "web", "new"));
        assert_eq!(model.shown_lines(2), ["18", "19"]);
        for _ in 0..9 {
            model.press(Press::PageUp);
        }
        assert_eq!(model.shown_lines(2), ["0"]);
        model.press(Press::End);
        assert_eq!(model.shown_lines(2), ["29", "new"]);
    }

    #[test]
    fn the_lines_that_a_search_finds_are_counted_while_old_ones_go() {
        let mut model = two();
        let text = |number: usize| if number.is_multiple_of(2) { "Even" } else { "odd" };
        for letter in "/even\r".chars() {
            model.press(if letter == '\r' { Press::Enter } else { Press::Letter(letter) });
        }
        for number in 0..LINES * 2 {
            model.update(line(2, "web", text(number)));
            assert_eq!(model.fitting, model.shown_lines(LINES).len());
        }
        model.press(Press::PageUp);
        assert_eq!(model.back(), PAGE);
        model.update(line(2, "web", "odd"));
        model.update(line(2, "web", "even"));
        assert_eq!(model.back(), PAGE + 1, "the same lines are shown");
        model.press(Press::Escape);
        assert_eq!((model.fitting, model.back()), (LINES, 0));
        model.press(Press::Up);
        assert_eq!(model.fitting, 0);
    }

    #[test]
    fn a_problem_is_shown_until_its_app_is_found_again() {
        let mut model = two();
        model.update(Update::Problem(1, "does not answer".to_owned()));
        model.remove(1);
        model.found(2);
        assert_eq!(model.problem(), Some("does not answer"));
        model.found(1);
        assert_eq!(model.problem(), None);
    }

    #[test]
    fn lines_and_plots_are_bounded() {
        let mut model = two();
        for number in 0..LINES as u64 + 10 {
            model.update(line(2, "web", &number.to_string()));
            model.update(usage(2, "web", 1.0, number));
        }
        assert_eq!((model.lines.len(), model.shown_lines(LINES + 9)[0]), (LINES, "10"));
        assert_eq!(model.rows()[2].memory.len(), PLOTTED);
        model.update(usage(9, "unknown", 1.0, 1));
        assert_eq!(model.rows().len(), 3);
    }
}
