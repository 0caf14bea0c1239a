//! Shows a report to people, or as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{
    catalogue::{KINDS, Severity},
    report::{Finding, Report},
};

/// Writes the report as one JSON object.
pub(super) fn json(report: &Report, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)
}

/// Writes the report as text.
pub(super) fn text(report: &Report, mut out: impl Write) -> io::Result<()> {
    for finding in &report.findings {
        show(finding, &mut out)?;
    }
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let fixed = report.findings.iter().filter(|finding| finding.fixed).count();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut parts = vec![count(errors, "error"), count(warnings, "warning")];
    parts.extend((fixed > 0).then(|| format!("{fixed} fixed")));
    parts.extend((report.ignored > 0).then(|| format!("{} ignored", report.ignored)));
    writeln!(out, "{}: {}, for {}", report.project, parts.join(", "), report.targets.join(", "))?;
    match report.fixable() {
        0 => Ok(()),
        fixable => writeln!(out, "`pillion doctor --fix` corrects {fixable} of them"),
    }
}

fn show(finding: &Finding, out: &mut impl Write) -> io::Result<()> {
    let kind = finding.kind;
    let (color, word) = match (finding.fixed, kind.level) {
        (true, _) => (AnsiColor::Green, "fixed"),
        (false, Severity::Error) => (AnsiColor::Red, kind.level.name()),
        (false, Severity::Warning) => (AnsiColor::Yellow, kind.level.name()),
    };
    let (style, bold) = (Style::new().fg_color(Some(color.into())), Style::new().bold());
    writeln!(out, "{style}{word}{style:#} {bold}{}{bold:#}: {}", kind.id, finding.place)?;
    for line in finding.detail.lines() {
        writeln!(out, "  {line}")?;
    }
    if !finding.fixed {
        writeln!(out, "  why: {}", kind.why)?;
        writeln!(out, "  do:  {}", finding.cure)?;
    }
    writeln!(out)
}

/// Writes the list of all kinds of findings.
pub(super) fn list(mut out: impl Write) -> io::Result<()> {
    for kind in KINDS {
        writeln!(out, "{:<22} {:<8} {}", kind.id, kind.level.name(), kind.what)?;
    }
    Ok(())
}
