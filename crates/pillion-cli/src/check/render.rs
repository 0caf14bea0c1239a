//! Shows a report to people, or as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{
    catalogue::RULES,
    report::{Finding, Outcome, Report},
};

/// Writes the report as one JSON object.
pub(super) fn json(report: &Report, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)
}

/// Writes the report as text: what is broken with its evidence, everything else in one line each.
pub(super) fn text(report: &Report, mut out: impl Write) -> io::Result<()> {
    for (rule, name) in RULES {
        let findings: Vec<_> = report.findings.iter().filter(|finding| finding.rule == rule).collect();
        if findings.is_empty() {
            continue;
        }
        let bold = Style::new().bold();
        writeln!(out, "{bold}{rule}. {name}{bold:#}")?;
        // One reason can keep a whole rule from being checked, such as a program that does not start: it is read once.
        for same in findings.chunk_by(|one, next| unchecked_alike(one, next)) {
            match same {
                [finding] => show(finding, &mut out)?,
                [first, ..] => unchecked(first, same, &mut out)?,
                [] => {}
            }
        }
    }
    let measured = &report.measurements;
    let milliseconds = |name: &str, time: Option<u64>| time.map(|time| format!("{name} after {time} ms"));
    let memory = measured.memory_bytes.map(|bytes| {
        // Tenths of a megabyte, without floating point.
        let tenths = bytes / 100_000;
        format!("{}.{} MB of memory", tenths / 10, tenths % 10)
    });
    let parts = [
        milliseconds("announced", measured.announced_ms),
        milliseconds("healthy", measured.healthy_ms),
        memory,
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        writeln!(out, "{}", parts.join(", "))?;
    }
    let count = |outcome| report.count(outcome);
    writeln!(
        out,
        "{} kept, {} broken, {} not supported, {} not checked",
        count(Outcome::Kept),
        count(Outcome::Broken),
        count(Outcome::NotSupported),
        count(Outcome::NotChecked)
    )
}

fn unchecked_alike(one: &Finding, other: &Finding) -> bool {
    one.outcome == Outcome::NotChecked && other.outcome == one.outcome && other.evidence == one.evidence
}

/// Shows checks that were not made for the same reason.
fn unchecked(first: &Finding, all: &[&Finding], out: &mut impl Write) -> io::Result<()> {
    let style = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let names: Vec<_> = all.iter().map(|finding| finding.check).collect();
    writeln!(out, "  {style}{:<13}{style:#} {}", "not checked", first.evidence.replace('\n', " "))?;
    writeln!(out, "{:16}{}", "", names.join(", "))
}

fn show(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    let (color, word) = match finding.outcome {
        Outcome::Kept => (AnsiColor::Green, "kept"),
        Outcome::Broken => (AnsiColor::Red, "broken"),
        Outcome::NotSupported => (AnsiColor::Yellow, "not supported"),
        Outcome::NotChecked => (AnsiColor::Yellow, "not checked"),
    };
    let style = Style::new().fg_color(Some(color.into()));
    let mut lines = finding.evidence.lines();
    let first = lines.next().unwrap_or_default();
    writeln!(out, "  {style}{word:<13}{style:#} {:<18} {first}", finding.check)?;
    let indent = " ".repeat(35);
    if finding.outcome != Outcome::Broken {
        return lines.try_for_each(|line| writeln!(out, "{indent}{line}"));
    }
    for line in lines {
        writeln!(out, "{indent}{line}")?;
    }
    writeln!(out, "{indent}{}: {}", finding.level.name(), finding.demand)?;
    writeln!(out, "{indent}change: {}", finding.change.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::{Measurements, Requirement};

    #[test]
    fn what_keeps_several_checks_from_being_made_is_said_once() {
        let finding = |check, rule, outcome, evidence: &str| Finding {
            check,
            rule,
            level: Requirement::Must,
            demand: "demand",
            outcome,
            evidence: evidence.to_owned(),
            change: None,
        };
        let report = Report {
            command: Vec::new(),
            private: true,
            findings: vec![
                finding("flush", 1, Outcome::NotChecked, "no start"),
                finding("accepts", 1, Outcome::NotChecked, "no start"),
                finding("stdout", 1, Outcome::NotChecked, "no /proc"),
                finding("port", 1, Outcome::Kept, "no start"),
                finding("health", 2, Outcome::NotChecked, "no start"),
            ],
            measurements: Measurements::default(),
        };
        let mut shown = Vec::new();
        text(&report, &mut shown).unwrap();
        let shown = anstream::adapter::strip_bytes(&shown).into_vec();
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            "1. Announce\n  not checked   no start\n                flush, accepts\n  not checked   stdout             no /proc\n  \
             kept          port               no start\n2. Be healthy\n  not checked   health             no start\n\
             1 kept, 0 broken, 0 not supported, 4 not checked\n"
        );
    }
}
