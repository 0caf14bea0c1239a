//! The changes of a run: all are computed before the first file is written.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use similar::TextDiff;
use tempfile::NamedTempFile;

use super::{source::relative_path, source_text::TextForm};
use crate::project::{Project, read_text};

/// The change of one file.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) path: PathBuf,
    /// `None` if the file does not exist yet.
    pub(super) before: Option<String>,
    pub(super) after: String,
    /// What the change adds, for people.
    pub(super) adds: Vec<String>,
}

/// The changes of all files, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Edits {
    files: Vec<Edit>,
}

impl Edits {
    /// Changes the text of a file; that of a missing file is empty. `change` gets a text without byte order mark, whose lines end
    /// with `\n`; the file keeps both. If the text stays as it is, nothing is recorded.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or with the error of `change`.
    pub(super) fn change(
        &mut self,
        path: &Path,
        adds: &str,
        change: impl FnOnce(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        let known = self.files.iter().position(|edit| edit.path == path);
        let before = match known {
            Some(index) => Some(self.files[index].after.clone()),
            None if path.exists() => Some(read_text(path).map_err(|error| error.to_string())?),
            None => None,
        };
        let (form, text) = TextForm::take(before.as_deref().unwrap_or_default());
        let after = form.restore(&change(&text)?);
        // A missing file counts as an empty one: no change may leave an empty file behind.
        if before.as_deref().unwrap_or_default() == after {
            return Ok(());
        }
        match known {
            Some(index) => {
                self.files[index].after = after;
                self.files[index].adds.push(adds.to_owned());
            }
            None => {
                self.files.push(Edit { path: path.to_owned(), before, after, adds: vec![adds.to_owned()] });
            }
        }
        Ok(())
    }

    /// Creates a file, unless it exists.
    pub(super) fn create(&mut self, path: &Path, adds: &str, text: &str) {
        if !path.exists() && self.files.iter().all(|edit| edit.path != path) {
            let (path, after) = (path.to_owned(), text.to_owned());
            self.files.push(Edit { path, before: None, after, adds: vec![adds.to_owned()] });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Edit> {
        self.files.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes all files. Each one is replaced as a whole, so that no file is half-written.
    ///
    /// # Errors
    ///
    /// Fails if a file was changed since it was read or cannot be written. The message names the files that were written before.
    pub(super) fn write(&self) -> Result<(), String> {
        for edit in &self.files {
            let now = edit.path.exists().then(|| read_text(&edit.path)).transpose();
            if now.map_err(|error| error.to_string())? != edit.before {
                let path = Project::shown(&edit.path);
                return Err(format!(
                    "{path} was changed meanwhile; nothing was written: run the command again"
                ));
            }
        }
        for (index, edit) in self.files.iter().enumerate() {
            if let Err(error) = edit.write() {
                let names = |edits: &[Edit]| {
                    let names: Vec<_> = edits.iter().map(|edit| Project::shown(&edit.path)).collect();
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                };
                return Err(format!(
                    "cannot write {}: {error}; written: {}; not written: {}; correct the cause and run the command again, which \
                     writes only what is missing",
                    Project::shown(&edit.path),
                    names(&self.files[..index]),
                    names(&self.files[index..]),
                ));
            }
        }
        Ok(())
    }
}

impl Edit {
    /// The change as a unified diff. Its paths are relative to `root`, as git and patch(1) expect them.
    pub(super) fn diff(&self, root: &Path) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let path = relative_path(root, &self.path);
        let old = if self.before.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
        let diff = TextDiff::from_lines(before, self.after.as_str());
        diff.unified_diff().context_radius(3).header(&old, &format!("b/{path}")).to_string()
    }

    /// Writes to a file beside the target, and renames it. A symbolic link stays, and its target is replaced.
    fn write(&self) -> std::io::Result<()> {
        let target = if self.before.is_some() { fs::canonicalize(&self.path)? } else { self.path.clone() };
        let folder = target.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(self.after.as_bytes())?;
        match fs::metadata(&target) {
            Ok(existing) => file.as_file().set_permissions(existing.permissions())?,
            Err(_) => make_readable(file.as_file())?,
        }
        file.as_file().sync_all()?;
        file.persist(&target)?;
        Ok(())
    }
}

/// A temporary file is for its user alone; a new file of a project is for all who may read the project.
#[cfg(unix)]
fn make_readable(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_b(text: &str) -> Result<String, String> {
        Ok(format!("{text}b\n"))
    }

    #[test]
    fn changes_of_one_file_add_up_and_keep_its_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "\u{feff}a\r\n").unwrap();
        let mut edits = Edits::default();
        edits.change(&path, "b", add_b).unwrap();
        edits.change(&path, "b", add_b).unwrap();
        edits.change(&path, "nothing", |text| Ok(text.to_owned())).unwrap();
        let edit = edits.iter().next().unwrap();
        assert_eq!(edit.after, "\u{feff}a\r\nb\r\nb\r\n");
        assert_eq!(edit.adds, ["b", "b"]);
        assert!(edit.diff(folder.path()).contains("+b"), "{}", edit.diff(folder.path()));
        edits.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\u{feff}a\r\nb\r\nb\r\n");
    }

    #[test]
    fn a_change_without_effect_is_no_edit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "a\r\nmixed\n").unwrap();
        let mut edits = Edits::default();
        edits.change(&path, "nothing", |text| Ok(text.to_owned())).unwrap();
        edits.change(&folder.path().join("missing.txt"), "nothing", |text| Ok(text.to_owned())).unwrap();
        assert!(edits.is_empty());
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_stops_the_run_before_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new.txt"), folder.path().join("old.txt"));
        fs::write(&old, "a\n").unwrap();
        let mut edits = Edits::default();
        edits.create(&new, "new", "new\n");
        edits.change(&old, "b", add_b).unwrap();
        fs::write(&old, "other\n").unwrap();
        let error = edits.write().unwrap_err();
        assert!(error.contains("old.txt was changed meanwhile; nothing was written"), "{error}");
        assert!(!new.exists());
    }

    #[test]
    fn a_failed_write_names_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (good, blocked) = (folder.path().join("good.txt"), folder.path().join("file/bad.txt"));
        fs::write(folder.path().join("file"), "not a folder").unwrap();
        let mut edits = Edits::default();
        edits.create(&good, "good", "good\n");
        edits.create(&blocked, "bad", "bad\n");
        let error = edits.write().unwrap_err();
        assert!(error.contains("written: ") && error.contains("good.txt; not written: "), "{error}");
        assert!(good.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_write_keeps_permissions_and_symbolic_links() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "a\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&real, &link).unwrap();
        let mut edits = Edits::default();
        edits.change(&link, "b", add_b).unwrap();
        edits.write().unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "a\nb\n");
        assert!(link.is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
