//! The changelog, in the form of <https://keepachangelog.com/en/1.1.0/>.

use anyhow::{Context, Result, ensure};

pub(super) const FILE: &str = "CHANGELOG.md";
/// The name of the section of what no version has yet.
pub(super) const UNRELEASED: &str = "Unreleased";

/// Returns the text of the section `## NAME` or `## NAME - DATE`, without the heading.
///
/// # Errors
///
/// Fails if the section is missing or has no entry.
pub(super) fn section<'a>(changelog: &'a str, name: &str) -> Result<&'a str> {
    let (_, after) =
        heading(changelog, name).with_context(|| format!("{FILE} has no section `## {name}`"))?;
    let end = after.find("\n## ").map_or(after.len(), |end| end + 1);
    let text = after[..end].trim();
    ensure!(
        text.lines().any(|line| line.starts_with("- ")),
        "the section `## {name}` of {FILE} has no entry"
    );
    Ok(text)
}

/// Returns the changelog with the entries of "Unreleased" under the heading of `version`.
///
/// # Errors
///
/// As [`section`], and if the version has a section already.
pub(super) fn with_version(changelog: &str, version: &str, date: &str) -> Result<String> {
    section(changelog, UNRELEASED)?;
    ensure!(heading(changelog, version).is_none(), "{FILE} has a section `## {version}` already");
    let (before, after) = heading(changelog, UNRELEASED).context("it was found above")?;
    let text = format!("{before}## {UNRELEASED}\n\n## {version} - {date}\n{after}");
    Ok(text.replace(" No version is published yet.", ""))
}

/// Returns what stands before and after the heading of a section.
fn heading<'a>(changelog: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut start = 0;
    for line in changelog.split_inclusive('\n') {
        let title =
            line.trim_end().strip_prefix("## ").map(|title| title.split(" - ").next().unwrap_or(title));
        if title == Some(name) {
            return Some((&changelog[..start], &changelog[start + line.len()..]));
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\nForm. No version is published yet.\n\n## Unreleased\n\n### Added\n\n- New\n\n## 0.1.0 - 2026-01-02\n\n- Old\n";

    #[test]
    fn a_section_ends_at_the_next_one() {
        assert_eq!(section(CHANGELOG, UNRELEASED).unwrap(), "### Added\n\n- New");
        assert_eq!(section(CHANGELOG, "0.1.0").unwrap(), "- Old");
        for (changelog, name, message) in [
            (CHANGELOG, "0.2.0", "no section `## 0.2.0`"),
            ("## Unreleased\n\n### Added\n", UNRELEASED, "has no entry"),
        ] {
            assert!(section(changelog, name).unwrap_err().to_string().contains(message), "{name}");
        }
    }

    #[test]
    fn a_release_names_and_dates_the_section_and_begins_an_empty_one() {
        let released = with_version(CHANGELOG, "0.2.0", "2026-11-29").unwrap();
        assert_eq!(section(&released, "0.2.0").unwrap(), "### Added\n\n- New");
        assert!(
            released.contains("\nForm.\n\n## Unreleased\n\n## 0.2.0 - 2026-11-29\n\n### Added\n"),
            "{released}"
        );
        assert!(section(&released, UNRELEASED).unwrap_err().to_string().contains("has no entry"));
        assert!(with_version(CHANGELOG, "0.1.0", "2026-11-29").unwrap_err().to_string().contains("already"));
    }
}
