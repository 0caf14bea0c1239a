//! Medians and ratios, as plain text and as Markdown.

use std::fmt::Write;

use anyhow::Result;

use super::picture::Picture;

/// The measurements of one quantity, one for each trial.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The quantile at `share`, interpolated linearly between the two nearest samples.
    fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 samples")]
        let place = share * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=last")]
        let below = place as usize;
        let above = (below + 1).min(last);
        Some(self.0[below] + (self.0[above] - self.0[below]) * place.fract())
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The lower quartile, the median and the upper quartile.
    pub(crate) fn quartiles(&self) -> Option<[f64; 3]> {
        let [Some(low), Some(median), Some(high)] = [0.25, 0.5, 0.75].map(|share| self.quantile(share))
        else {
            return None;
        };
        Some([low, median, high])
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut samples = Self(values.into_iter().collect());
        samples.0.sort_by(f64::total_cmp);
        samples
    }
}

/// A table: one quantity in each row, with the baseline in the first column and the other subjects beside it.
#[derive(Debug)]
pub(crate) struct Table {
    /// The baseline, then the others. Each of the others also shows its ratio to the baseline.
    subjects: Vec<&'static str>,
    rows: Vec<Row>,
    notes: Vec<String>,
    pictures: Vec<Picture>,
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    samples: Vec<Samples>,
}

impl Table {
    pub(crate) fn new(subjects: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            subjects: subjects.into_iter().collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// Adds a row with the samples of each subject. A subject without this quantity has no samples.
    pub(crate) fn row(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        samples: impl Into<Vec<Samples>>,
    ) {
        self.rows.push(Row { what: what.into(), unit, samples: samples.into() });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn picture(&mut self, picture: Picture) {
        self.pictures.push(picture);
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let mut header = vec!["median (quartiles)".to_owned()];
        for (index, subject) in self.subjects.iter().enumerate() {
            header.push((*subject).to_owned());
            header.extend((index > 0).then(|| "ratio".to_owned()));
        }
        let mut cells = vec![header];
        cells.extend(self.rows.iter().map(Row::cells));
        cells
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![format!("{}, {}", self.what, self.unit)];
        for (index, samples) in self.samples.iter().enumerate() {
            cells.push(cell(samples));
            cells.extend((index > 0).then(|| ratio(samples, &self.samples[0])));
        }
        cells
    }
}

const NOTHING: &str = "–";

fn cell(samples: &Samples) -> String {
    let Some([low, median, high]) = samples.quartiles() else { return NOTHING.to_owned() };
    let (low, median, high) = (number(low), number(median), number(high));
    if low == high { median } else { format!("{median} ({low}–{high})") }
}

fn ratio(samples: &Samples, baseline: &Samples) -> String {
    match (samples.median(), baseline.median()) {
        (Some(ours), Some(theirs)) if theirs != 0.0 => format!("{}×", number(ours / theirs)),
        _ => NOTHING.to_owned(),
    }
}

/// A number with three significant digits, without a fraction from 100 on, and with thousands separators.
fn number(value: f64) -> String {
    let size = value.abs();
    // Zero must not look like a small number.
    if size == 0.0 {
        return "0".to_owned();
    }
    if size < 0.095 {
        return format!("{value:.3}");
    }
    if size < 9.995 {
        return format!("{value:.2}");
    }
    if size < 99.95 {
        return format!("{value:.1}");
    }
    format!("{}{}", if value < 0.0 { "-" } else { "" }, thousands(size))
}

/// A positive number without a fraction, with thousands separators.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The results of one run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Vec<String>,
    parts: Vec<(&'static str, Result<Table>)>,
}

impl Report {
    pub(crate) fn new(machine: Vec<String>) -> Self {
        Self { machine, parts: Vec::new() }
    }

    /// Adds a part, or the reason why it could not run.
    pub(crate) fn add(&mut self, title: &'static str, outcome: Result<Table>) {
        self.parts.push((title, outcome));
    }

    pub(crate) fn plain(&self) -> String {
        let mut text = self.machine.join("\n");
        for (title, outcome) in &self.parts {
            let _ = write!(text, "\n\n{title}\n");
            match outcome {
                Ok(table) => {
                    text += &aligned(&table.cells());
                    for note in &table.notes {
                        let _ = write!(text, "\n  {note}");
                    }
                }
                Err(reason) => {
                    let _ = write!(text, "  not run: {reason:#}");
                }
            }
        }
        text
    }

    /// The pictures of all parts.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = &Picture> {
        self.parts.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).flat_map(|table| &table.pictures)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = "# Benchmark\n\n".to_owned();
        for line in &self.machine {
            let _ = writeln!(text, "- {line}");
        }
        for (title, outcome) in &self.parts {
            let _ = write!(text, "\n## {title}\n\n");
            match outcome {
                Ok(table) => {
                    for (index, row) in table.cells().iter().enumerate() {
                        let _ = writeln!(text, "| {} |", row.join(" | "));
                        if index == 0 {
                            let _ = writeln!(text, "| --- |{}", " ---: |".repeat(row.len() - 1));
                        }
                    }
                    for picture in &table.pictures {
                        let _ = write!(text, "\n![{}](benchmarks/{}.svg)\n", picture.title, picture.file);
                    }
                    for note in &table.notes {
                        let _ = write!(text, "\n{note}\n");
                    }
                }
                Err(reason) => {
                    let _ = writeln!(text, "Not run: {reason:#}");
                }
            }
        }
        text
    }
}

/// The rows as text in aligned columns: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ =
                if index == 0 { write!(line, "  {cell:<width$}") } else { write!(line, "   {cell:>width$}") };
        }
        line
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_samples() {
        let samples: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(samples.median(), Some(2.5));
        assert_eq!(samples.quantile(0.25), Some(1.75));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 0.0123, 0.5, 1.234, 12.34, 99.96, 1234.5, 1_234_567.0, -0.5].map(number);
        assert_eq!(texts, ["0", "0.012", "0.50", "1.23", "12.3", "100", "1,234", "1,234,567", "-0.50"]);
    }

    #[test]
    fn the_ratio_is_to_the_baseline_and_a_missing_value_is_shown() {
        let mut table = Table::new(["bare", "ours"]);
        table.row("start", "ms", [[2.0].into_iter().collect(), [3.0, 5.0].into_iter().collect::<Samples>()]);
        table.row("stop", "ms", [Samples::default(), [1.0].into_iter().collect()]);
        assert_eq!(table.cells()[1], ["start, ms", "2.00", "4.00 (3.50–4.50)", "2.00×"]);
        assert_eq!(table.cells()[2], ["stop, ms", NOTHING, "1.00", NOTHING]);
    }

    #[test]
    fn both_reports_name_a_part_that_did_not_run() {
        let mut report = Report::new(vec!["a machine".to_owned()]);
        report.add("a part", Err(anyhow::anyhow!("no node")));
        assert!(report.plain().contains("a part\n  not run: no node"));
        assert!(report.markdown().contains("## a part\n\nNot run: no node"));
    }
}
