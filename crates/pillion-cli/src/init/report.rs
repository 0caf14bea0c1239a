//! Shows a plan to people, or as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::plan::{Choices, Plan};
use crate::project::Project;

/// Writes what was found, and the changes as diffs.
pub(super) fn text(
    project: &Project,
    choices: &Choices,
    plan: &Plan,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "app: {}", Project::shown(&project.config.base.path))?;
    match &project.front_end {
        Some(front_end) => writeln!(
            out,
            "page: {} with {} ({})",
            Project::shown(&front_end.package.path),
            front_end.manager,
            front_end.found_by
        )?,
        None => writeln!(out, "page: without a package.json")?,
    }
    match &choices.backend {
        Some(backend) => {
            writeln!(out, "backend: {} in {}", backend.runtime.name(), Project::shown(&backend.folder))?;
        }
        None => writeln!(out, "backend: none chosen")?,
    }
    for edit in plan.edits.iter() {
        let bold = Style::new().bold();
        writeln!(out, "\n{bold}{}{bold:#}: {}", Project::shown(&edit.path), edit.adds.join(", "))?;
        for line in edit.diff(project.repository()).lines() {
            let color = match line.as_bytes().first() {
                Some(b'+') => Some(AnsiColor::Green),
                Some(b'-') => Some(AnsiColor::Red),
                _ => None,
            };
            let style = Style::new().fg_color(color.map(Into::into));
            writeln!(out, "{style}{line}{style:#}")?;
        }
    }
    if plan.edits.is_empty() {
        writeln!(out, "\nnothing to change: the app already uses Pillion")?;
    }
    writeln!(out)
}

/// Writes what happened, and what is left to the developer.
pub(super) fn outcome(plan: &Plan, written: bool, out: &mut impl Write) -> io::Result<()> {
    if written {
        writeln!(out, "wrote {} files", plan.edits.iter().count())?;
    } else if !plan.edits.is_empty() {
        writeln!(out, "nothing was written (--dry-run)")?;
    }
    let bold = Style::new().bold();
    if !plan.by_hand.is_empty() {
        writeln!(out, "\n{bold}By hand{bold:#}")?;
        for item in &plan.by_hand {
            writeln!(out, "  {}: {}", Project::shown(&item.path), item.what)?;
            item.lines.lines().try_for_each(|line| writeln!(out, "      {line}"))?;
        }
    }
    if !plan.edits.is_empty() {
        writeln!(out, "\n{bold}Next{bold:#}")?;
        plan.next.iter().try_for_each(|step| writeln!(out, "  {step}"))?;
    }
    Ok(())
}

/// Writes everything as one JSON object.
pub(super) fn json(
    project: &Project,
    choices: &Choices,
    plan: &Plan,
    written: bool,
    mut out: impl Write,
) -> io::Result<()> {
    let changes: Vec<_> = plan
        .edits
        .iter()
        .map(|edit| {
            json!({ "path": edit.path, "created": edit.before.is_none(), "adds": edit.adds, "diff": edit.diff(project.repository()) })
        })
        .collect();
    let by_hand: Vec<_> = plan
        .by_hand
        .iter()
        .map(|item| json!({ "path": item.path, "what": item.what, "lines": item.lines }))
        .collect();
    let backend = choices
        .backend
        .as_ref()
        .map(|backend| json!({ "runtime": backend.runtime.name(), "folder": backend.folder, "entry": backend.entry }));
    let report = json!({
        "app": project.config.base.path,
        "packageManager": project.front_end.as_ref().map(|front_end| front_end.manager.name()),
        "sidecar": choices.name,
        "backend": backend,
        "changes": changes,
        "written": written,
        "byHand": by_hand,
        "next": plan.next,
    });
    serde_json::to_writer_pretty(&mut out, &report)?;
    writeln!(out)
}
