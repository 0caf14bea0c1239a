//! What a run made, as data, as text and as JSON.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// A whole run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The files that are ready for the bundler.
    pub(super) files: Vec<MadeFile>,
    /// The files that could not be made.
    pub(super) problems: Vec<Problem>,
}

/// A program that is ready for the bundler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeFile {
    pub(super) sidecar: String,
    pub(super) target: String,
    pub(super) path: String,
    /// The length of the program alone.
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// The folder that the program needs beside it and that is bundled with it: `onedir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<MadeFolder>,
    /// Whether the file of an earlier run was up to date.
    pub(super) cached: bool,
    /// Why it was built again, if it was built before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What was done with it: signatures.
    pub(super) notes: Vec<String>,
    /// What `pillion check` found, or why the program was not started.
    pub(super) check: String,
    /// Milliseconds.
    pub(super) took_ms: u64,
}

/// A folder among the resources of the app: the program, and all files that it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MadeFolder {
    pub(super) path: String,
    /// The length of all files that were put there.
    pub(super) bytes: u64,
    pub(super) files: usize,
}

/// Why a program was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    pub(super) sidecar: String,
    pub(super) target: String,
    /// Whether nothing was tried, because this machine cannot make it.
    pub(super) refused: bool,
    /// What happened, and what to do.
    pub(super) message: String,
}

/// Writes the report as one JSON object.
pub(super) fn json(report: &Report, mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, report)?;
    writeln!(out)
}

/// Writes the report as text.
pub(super) fn text(report: &Report, mut out: impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    for file in &report.files {
        let green = color(AnsiColor::Green);
        let why = file.reason.as_ref().map(|reason| format!(", because {reason}")).unwrap_or_default();
        let how = if file.cached {
            "up to date".to_owned()
        } else {
            format!("built in {}{why}", seconds(file.took_ms))
        };
        writeln!(out, "{green}made{green:#}    {bold}{}{bold:#}  {}, {how}", file.path, size(file))?;
        for note in file.notes.iter().chain([&file.check]) {
            writeln!(out, "        {note}")?;
        }
    }
    for problem in &report.problems {
        let (mark, word) = if problem.refused {
            (color(AnsiColor::Yellow), "refused")
        } else {
            (color(AnsiColor::Red), "failed ")
        };
        let Problem { sidecar, target, message, .. } = problem;
        writeln!(out, "{mark}{word}{mark:#} {bold}{sidecar}{bold:#} for {target}")?;
        for line in message.lines() {
            writeln!(out, "        {line}")?;
        }
    }
    Ok(())
}

/// What the program adds to the bundle.
fn size(file: &MadeFile) -> String {
    match &file.folder {
        None => megabytes(file.bytes),
        Some(folder) => format!(
            "{} in {} files (the program itself: {})",
            megabytes(folder.bytes),
            folder.files,
            megabytes(file.bytes)
        ),
    }
}

pub(super) fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(color.into()))
}

fn megabytes(bytes: u64) -> String {
    // Tenths of a megabyte, without floating point.
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

fn seconds(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    format!("{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_all_that_is_bundled() {
        let folder = MadeFolder { path: "binaries/backend".to_owned(), bytes: 61_250_000, files: 412 };
        let file = MadeFile {
            sidecar: "backend".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            path: "binaries/backend/backend".to_owned(),
            bytes: 1_900_000,
            sha256: "00".to_owned(),
            folder: Some(folder),
            cached: true,
            reason: None,
            notes: Vec::new(),
            check: "started and checked".to_owned(),
            took_ms: 1,
        };
        let report = Report { files: vec![file], problems: Vec::new() };
        let mut shown = Vec::new();
        text(&report, anstream::StripStream::new(&mut shown)).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(
            shown.contains("  61.3 MB in 412 files (the program itself: 1.9 MB), up to date\n"),
            "{shown}"
        );
    }

    #[test]
    fn the_text_names_files_and_problems_with_their_cures() {
        let report = Report {
            files: vec![MadeFile {
                sidecar: "backend".to_owned(),
                target: "aarch64-apple-darwin".to_owned(),
                path: "src-tauri/binaries/backend-aarch64-apple-darwin".to_owned(),
                bytes: 107_400_001,
                sha256: "00".to_owned(),
                folder: None,
                cached: false,
                reason: None,
                notes: vec!["signed ad hoc".to_owned()],
                check: "not started: this machine cannot run it".to_owned(),
                took_ms: 1234,
            }],
            problems: vec![Problem {
                sidecar: "backend".to_owned(),
                target: "x86_64-pc-windows-msvc".to_owned(),
                refused: true,
                message: "no linker\ninstall one".to_owned(),
            }],
        };
        let mut shown = Vec::new();
        text(&report, anstream::StripStream::new(&mut shown)).unwrap();
        assert_eq!(
            String::from_utf8(shown).unwrap(),
            "made    src-tauri/binaries/backend-aarch64-apple-darwin  107.5 MB, built in 1.3 s\n        \
             signed ad hoc\n        not started: this machine cannot run it\n\
             refused backend for x86_64-pc-windows-msvc\n        no linker\n        install one\n"
        );
    }
}
