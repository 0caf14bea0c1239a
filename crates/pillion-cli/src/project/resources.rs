//! What `bundle.resources` says: which files the bundle has, and where they come from.

use std::path::PathBuf;

/// An entry of `bundle.resources`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// A file, a folder or a pattern, relative to the folder of the Tauri configuration.
    pub(crate) source: String,
    /// Its path in the resource folder. An entry of a list has none: Tauri keeps the path.
    pub(crate) target: Option<String>,
}

impl Resource {
    /// Whether it puts a file at this path of the resource folder.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let Some(target) = &self.target else {
            let source = self.source.trim_start_matches("./");
            return below(source, path).is_some()
                || glob::Pattern::new(source).is_ok_and(|pattern| pattern.matches(path));
        };
        below(target, path).is_some()
    }

    /// The folder of the project that it copies to this folder of the resource folder.
    pub(crate) fn source_of(&self, folder: &str) -> Option<PathBuf> {
        let into = self.target.as_ref().unwrap_or(&self.source);
        let rest = below(without_pattern(into), folder)?;
        let source = PathBuf::from(without_pattern(&self.source));
        Some(if rest.is_empty() { source } else { source.join(rest) })
    }
}

/// What remains of the path below this folder; empty if both are the same.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    match path.strip_prefix(folder)? {
        "" => Some(""),
        rest if folder.is_empty() => Some(rest),
        rest => rest.strip_prefix('/'),
    }
}

fn without_pattern(path: &str) -> &str {
    path.trim_end_matches("**/*").trim_end_matches(['*', '/'])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn list(source: &str) -> Resource {
        Resource { source: source.to_owned(), target: None }
    }

    fn map(source: &str, target: &str) -> Resource {
        Resource { source: source.to_owned(), target: Some(target.to_owned()) }
    }

    #[test]
    fn an_entry_is_a_file_a_folder_or_a_pattern() {
        assert!(list("server/main").contains("server/main"));
        assert!(list("server/").contains("server/main"));
        assert!(list("./server/").contains("server/main"));
        assert!(list("server/**/*").contains("server/bin/main"));
        assert!(list("./server/*").contains("server/main"));
        assert!(!list("serve").contains("server/main"));
        assert!(map("../dist", "server").contains("server/main"));
        assert!(map("../dist", "").contains("server/main"));
        assert!(!map("../dist", "other").contains("server/main"));
    }

    #[test]
    fn a_folder_of_the_resources_has_its_source() {
        for (resource, source) in [
            (list("server/"), Some("server/bin")),
            (list("./server/"), Some("./server/bin")),
            (list("server/**/*"), Some("server/bin")),
            (list("serve"), None),
            (map("dist/**/*", "server/bin/"), Some("dist")),
            (map("dist", "./server"), Some("dist/bin")),
            (map("dist", ""), Some("dist/server/bin")),
            (map("dist", "other"), None),
        ] {
            assert_eq!(resource.source_of("server/bin").as_deref(), source.map(Path::new), "{resource:?}");
        }
    }
}
