//! Checks the references from Markdown files to the source.
//!
//! A link whose text is code and whose target is a source file, as in ``[`drop_kills_the_process_group`](tests/stop.rs)``,
//! says that the file contains that name. This check fails if it does not, so that a document cannot name a test, function
//! or type that was renamed. A link checker cannot do this: it knows files and headings only.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

/// File name extensions of source files.
const SOURCES: &[&str] = &["css", "js", "json", "rs", "toml", "ts", "tsx"];

/// Checks all Markdown files of the repository.
///
/// # Errors
///
/// Fails with one line for each name that its file does not contain.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    for file in markdown_files(&workspace.shell()?)? {
        let text =
            fs::read_to_string(workspace.root.join(&file)).with_context(|| format!("cannot read {file}"))?;
        let folder = workspace.root.join(&file).parent().map(Path::to_owned).unwrap_or_default();
        for Reference { name, target } in references(&text) {
            let source = fs::read_to_string(folder.join(target)).unwrap_or_default();
            if !contains_name(&source, name) {
                problems.push(format!("{file}: {target} does not contain {name}"));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// Returns the paths of all Markdown files that Git tracks.
pub(crate) fn markdown_files(sh: &Shell) -> Result<Vec<String>> {
    let files = cmd!(sh, "git ls-files --cached --others --exclude-standard -- *.md").quiet().read()?;
    Ok(files.lines().map(str::to_owned).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    /// The last segment of the name in the link's text: `access` of `Supervisor::access`.
    name: &'a str,
    /// The path of the source file, relative to the Markdown file.
    target: &'a str,
}

/// Returns each link from a name to a source file.
fn references(text: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for start in text.split("[`").skip(1) {
        let Some((name, rest)) = start.split_once("`](") else { continue };
        let Some((target, _)) = rest.split_once(')') else { continue };
        let is_source =
            Path::new(target).extension().is_some_and(|it| SOURCES.iter().any(|source| it == *source));
        let name = name.rsplit("::").next().unwrap_or(name);
        let is_name = !name.is_empty() && name.chars().all(|it| it.is_alphanumeric() || it == '_');
        if is_source && is_name {
            found.push(Reference { name, target });
        }
    }
    found
}

/// Returns whether `source` contains `name` as a whole word.
fn contains_name(source: &str, name: &str) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    source
        .match_indices(name)
        .any(|(at, _)| !source[..at].ends_with(is_word) && !source[at + name.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_from_a_name_to_a_source_file_are_found() {
        let text = "See [`Fleet::close`](src/fleet.rs), [`src/fleet.rs`](src/fleet.rs), [the fleet](src/fleet.rs),\n\
                    [`Fleet`](docs/fleet.md) and [`stop_ends_it`](tests/stop.rs).";
        let close = Reference { name: "close", target: "src/fleet.rs" };
        let stop = Reference { name: "stop_ends_it", target: "tests/stop.rs" };
        assert_eq!(references(text), [close, stop]);
    }

    #[test]
    fn a_name_is_found_as_a_whole_word() {
        assert!(contains_name("fn stop_ends_it() {}", "stop_ends_it"));
        assert!(!contains_name("fn stop_ends_it_all() {}", "stop_ends_it"));
        assert!(!contains_name("fn a_stop_ends_it() {}", "stop_ends_it"));
        assert!(!contains_name("", "stop_ends_it"));
    }
}
