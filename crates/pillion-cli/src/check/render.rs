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
        for finding in findings {
            show(finding, &mut out)?;
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
