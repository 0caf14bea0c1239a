//! The folder with a program and the files that it needs, among the resources of the app. A file in it lists what was put there, so
//! that a later run replaces that, and never a file of the user.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    SUMS,
    cache::{Digest, digest},
    process::Failure,
};

/// The file with the list, in the folder.
const MARKER: &str = ".pillion-package.json";

/// What was put into the folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    sidecar: String,
    /// The digest of each file, by its path in the folder.
    files: BTreeMap<PathBuf, Digest>,
}

impl Marker {
    /// The list in this folder; `None` if it is missing, unreadable, or names a file elsewhere.
    fn read(folder: &Path) -> Option<Self> {
        let marker: Self = serde_json::from_slice(&fs::read(folder.join(MARKER)).ok()?).ok()?;
        let is_inside =
            |path: &PathBuf| path.components().all(|component| matches!(component, Component::Normal(_)));
        marker.files.keys().all(is_inside).then_some(marker)
    }

    fn write(&self, folder: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(|error| Failure::failed(error.to_string()))?;
        let path = folder.join(MARKER);
        fs::write(&path, text).map_err(Failure::file("write", &path))
    }
}

/// Whether the folder is as [`place`] left it for the sidecar. Otherwise says what has changed.
pub(super) fn is_whole(folder: &Path, sidecar: &str) -> Result<(), String> {
    let marker = Marker::read(folder).filter(|marker| marker.sidecar == sidecar);
    let marker = marker.ok_or_else(|| format!("{} does not exist", folder.join(MARKER).display()))?;
    for (path, expected) in &marker.files {
        let path = folder.join(path);
        if !fs::read(&path).is_ok_and(|bytes| digest(&bytes) == *expected) {
            return Err(format!("{} was changed by something else", path.display()));
        }
    }
    Ok(())
}

/// How many files [`place`] has put into the folder for the sidecar, and their bytes in all.
pub(super) fn size(folder: &Path, sidecar: &str) -> Result<(usize, u64), Failure> {
    let marker = Marker::read(folder).filter(|marker| marker.sidecar == sidecar).unwrap_or_default();
    let mut bytes = 0;
    for path in marker.files.keys().map(|path| folder.join(path)) {
        bytes += fs::metadata(&path).map_err(Failure::file("read", &path))?.len();
    }
    Ok((marker.files.len(), bytes))
}

/// Fails if the folder has files, and is none that [`place`] has made for the sidecar.
pub(super) fn check(folder: &Path, sidecar: &str) -> Result<(), Failure> {
    let advice = format!(
        "give the sidecar its own folder, for example \"resource\": \"{sidecar}/{sidecar}\" and \"bundle\": {{ \"resources\": {{ \
         \"binaries/{sidecar}/\": \"{sidecar}/\" }} }}, or delete the folder if nothing in it is yours"
    );
    if let Some(marker) = Marker::read(folder) {
        if marker.sidecar == sidecar {
            return Ok(());
        }
        return Err(Failure::refused(format!(
            "`onedir` writes the folder {}, but that is the folder of the sidecar {}: {advice}",
            folder.display(),
            marker.sidecar
        )));
    }
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(Failure::file("read the folder", folder))? {
        let entry = entry.map_err(Failure::file("read the folder", folder))?;
        let name = entry.file_name();
        // Such as `.gitkeep`, which stays.
        if !name.to_string_lossy().starts_with('.') && name != SUMS {
            return Err(Failure::refused(format!(
                "`onedir` writes the folder {}, but that exists, and `pillion package` did not make it (it contains {}): {advice}",
                folder.display(),
                name.display()
            )));
        }
    }
    Ok(())
}

/// Copies the folder `from` to `to`, in place of what an earlier run has put there for the sidecar. Other files stay.
pub(super) fn place(from: &Path, to: &Path, sidecar: &str) -> Result<(), Failure> {
    check(to, sidecar)?;
    let old = Marker::read(to).unwrap_or_default();
    let mut new = Marker { sidecar: sidecar.to_owned(), files: BTreeMap::new() };
    list(from, Path::new(""), &mut new.files)?;
    for path in new.files.keys().filter(|path| !old.files.contains_key(*path)) {
        let file = to.join(path);
        if file.symlink_metadata().is_ok() {
            return Err(Failure::refused(format!(
                "{} exists, and `pillion package` did not make it: move it to another folder",
                file.display()
            )));
        }
    }
    fs::create_dir_all(to).map_err(Failure::file("make the folder", to))?;
    // First of all: a run that is interrupted leaves nothing that the next one does not know.
    let mut both = Marker { sidecar: sidecar.to_owned(), files: old.files };
    let removed: Vec<_> = both.files.keys().cloned().collect();
    both.files.extend(new.files.iter().map(|(path, digest)| (path.clone(), digest.clone())));
    both.write(to)?;
    for path in removed {
        let file = to.join(&path);
        if file.symlink_metadata().is_ok() {
            fs::remove_file(&file).map_err(Failure::file("remove", &file))?;
        }
        // The folders in it go as soon as they are empty.
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            let _ = fs::remove_dir(to.join(above));
        }
    }
    for path in new.files.keys() {
        let (source, copy) = (from.join(path), to.join(path));
        let folder = copy.parent().unwrap_or(to);
        fs::create_dir_all(folder).map_err(Failure::file("make the folder", folder))?;
        fs::copy(&source, &copy).map_err(Failure::file("copy", &source))?;
    }
    new.write(to)
}

/// Lists the files below a folder of `root`. A link is followed: the bundler copies files.
fn list(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Digest>) -> Result<(), Failure> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(Failure::file("read the folder", &folder))? {
        let entry = entry.map_err(Failure::file("read the folder", &folder))?;
        let (source, path) = (entry.path(), below.join(entry.file_name()));
        if source.is_dir() {
            list(root, &path, files)?;
        } else {
            let bytes = fs::read(&source).map_err(Failure::file("read", &source))?;
            files.insert(path, digest(&bytes));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, content: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A folder that was built, and the place for it.
    fn built() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("built"), folder.path().join("resources"));
        write(&from, "backend", "program");
        write(&from, "_internal/base.zip", "library");
        (folder, from, to)
    }

    #[test]
    fn a_folder_of_the_user_is_refused_and_stays() {
        let (_folder, from, to) = built();
        write(&to, "model.bin", "model");
        let refused = place(&from, &to, "backend").unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused}");
        assert!(refused.to_string().contains("model.bin"), "{refused}");
        assert_eq!(fs::read_to_string(to.join("model.bin")).unwrap(), "model");
        assert!(!to.join("backend").exists());
    }

    #[test]
    fn only_what_was_made_is_replaced() {
        let (_folder, from, to) = built();
        write(&to, ".gitkeep", "");
        place(&from, &to, "backend").unwrap();
        write(&to, "model.bin", "model");
        fs::remove_dir_all(from.join("_internal")).unwrap();
        write(&from, "backend", "new");
        place(&from, &to, "backend").unwrap();
        assert_eq!(fs::read_to_string(to.join("backend")).unwrap(), "new");
        assert!(!to.join("_internal").exists());
        assert!(to.join("model.bin").exists() && to.join(".gitkeep").exists());
        assert!(check(&to, "other").is_err());
        write(&from, "model.bin", "other");
        assert!(place(&from, &to, "backend").is_err());
        assert_eq!(fs::read_to_string(to.join("model.bin")).unwrap(), "model");
    }

    #[test]
    fn a_change_of_any_file_is_found() {
        let (_folder, from, to) = built();
        place(&from, &to, "backend").unwrap();
        assert_eq!(is_whole(&to, "backend"), Ok(()));
        fs::remove_dir_all(to.join("_internal")).unwrap();
        assert!(is_whole(&to, "backend").unwrap_err().contains("base.zip"));
        assert!(size(&to, "backend").is_err());
        place(&from, &to, "backend").unwrap();
        assert_eq!(is_whole(&to, "backend"), Ok(()));
    }

    #[test]
    fn the_size_is_that_of_the_files_that_were_put_there() {
        let (_folder, from, to) = built();
        write(&to, ".gitkeep", "not counted");
        place(&from, &to, "backend").unwrap();
        let expected = (2, "program".len() as u64 + "library".len() as u64);
        assert_eq!(size(&to, "backend").unwrap(), expected);
    }

    #[test]
    fn a_list_with_files_elsewhere_counts_as_none() {
        let (_folder, _, to) = built();
        write(&to, MARKER, r#"{"sidecar":"backend","files":{"../built/backend":"00"}}"#);
        assert_eq!(Marker::read(&to), None);
    }
}
