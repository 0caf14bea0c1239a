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

/// The list of all pages.
const LIST: &str = "docs/README.md";

/// Checks all Markdown files of the repository.
///
/// # Errors
///
/// Fails with one line for each name that its file does not contain, and for each page that is not in the list.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    let files = markdown_files(&workspace.shell()?)?;
    let list =
        fs::read_to_string(workspace.root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    problems.extend(unlisted(&list, &files).map(|page| format!("{LIST}: no link to {page}")));
    for file in files {
        let text =
            fs::read_to_string(workspace.root.join(&file)).with_context(|| format!("cannot read {file}"))?;
        if file == "docs/guarantees.md" {
            problems.extend(unshown(&text).into_iter().map(|line| format!("{file}: {line}")));
        }
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

/// The pages of the folder `docs` to which `list` has no link.
fn unlisted<'a>(list: &'a str, files: &'a [String]) -> impl Iterator<Item = &'a str> {
    let pages = files.iter().filter_map(|file| file.strip_prefix("docs/"));
    pages.filter(|page| *page != "README.md" && !page.contains('/') && !list.contains(&format!("]({page}")))
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

/// The rows of tables whose last column is "shown by", and that name neither a test nor a job there.
fn unshown(text: &str) -> Vec<String> {
    let (mut found, mut rows, mut is_table) = (Vec::new(), 0, false);
    for line in text.lines() {
        let cells: Vec<_> =
            line.strip_prefix('|').map_or(Vec::new(), |row| row.split('|').map(str::trim).collect());
        // The line ends with a bar, after which nothing follows.
        let [first, .., last, ""] = cells[..] else {
            is_table = false;
            continue;
        };
        if last == "shown by" {
            is_table = true;
        } else if is_table && !last.starts_with("---") {
            rows += 1;
            if references(last).is_empty() && !last.contains("cargo xtask") {
                found.push(format!("no test or job shows \"{first}\""));
            }
        }
    }
    if rows == 0 {
        found.push("no table has the column \"shown by\"".to_owned());
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
    fn each_row_of_a_table_names_what_shows_it() {
        let table = "| | Linux | shown by |\n| --- | --- | --- |\n";
        let row =
            |shown: &str| format!("{table}| a | run | {shown} |\n\n| b | c |\n| --- | --- |\n| d | e |\n");
        for shown in ["[`a_test`](tests/a.rs)", "`cargo xtask wine`"] {
            assert_eq!(unshown(&row(shown)), Vec::<String>::new());
        }
        for missing in ["", "by reading", "[a.rs](tests/a.rs)"] {
            assert_eq!(unshown(&row(missing)), ["no test or job shows \"a\""]);
        }
        assert_eq!(unshown("| a | b |\n").len(), 1, "the table is missing");
    }

    #[test]
    fn a_page_without_a_link_in_the_list_is_found() {
        let files = ["README.md", "docs/README.md", "docs/logs.md", "docs/new.md", "docs/protocol/README.md"];
        let files = files.map(str::to_owned);
        assert_eq!(unlisted("[logs](logs.md#levels)", &files).collect::<Vec<_>>(), ["new.md"]);
    }

    #[test]
    fn a_name_is_found_as_a_whole_word() {
        assert!(contains_name("fn stop_ends_it() {}", "stop_ends_it"));
        assert!(!contains_name("fn stop_ends_it_all() {}", "stop_ends_it"));
        assert!(!contains_name("fn a_stop_ends_it() {}", "stop_ends_it"));
        assert!(!contains_name("", "stop_ends_it"));
    }
}
