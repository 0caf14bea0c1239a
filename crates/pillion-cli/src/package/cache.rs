//! Whether a program is up to date: a stamp for each sidecar and target says from which inputs the last run made which file.
//!
//! An input is known by its content, never by its date. The file that was made is known by its length and date, because it can have
//! a hundred megabytes; if only the date differs, by its content.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::process::Failure;

/// A SHA-256 in hexadecimal digits.
pub(super) type Digest = String;

/// The files that make a folder that of a Tauri app.
const TAURI_FILES: [&str; 3] = ["tauri.conf.json", "tauri.conf.json5", "Tauri.toml"];

/// What a program was built from, as the tool that built it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    /// Files, also such that do not exist: their creation counts as a change.
    pub(super) files: Vec<PathBuf>,
    /// Folders with all of their files, except hidden ones and what tools make.
    pub(super) folders: Vec<PathBuf>,
    /// The same, but a tool may also write into them: `build` and `dist` directly in such a folder do not count.
    pub(super) tool_folders: Vec<PathBuf>,
}

/// The result of a run for one sidecar and one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The digest of everything besides the inputs that decides about the program: how it is built, and the versions of the tools.
    pub(super) recipe: Digest,
    folders: Vec<PathBuf>,
    // A stamp without them has all of its folders in `folders`, where more files count.
    #[serde(default)]
    tool_folders: Vec<PathBuf>,
    /// The digest of each input; `None` for a file that does not exist.
    files: BTreeMap<PathBuf, Option<Digest>>,
    /// The file that was made.
    pub(super) output: OutputFile,
    /// The check of the program.
    #[serde(flatten)]
    pub(super) check: CheckResult,
}

/// The check of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CheckResult {
    /// What the check said.
    #[serde(rename = "check")]
    pub(super) said: String,
    /// The digest of how it started the program. A stamp without it counts as one of another check.
    #[serde(rename = "checkRecipe", default)]
    pub(super) recipe: Digest,
}

/// A file that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutputFile {
    pub(super) bytes: u64,
    /// Nanoseconds since the Unix epoch.
    modified: u128,
    pub(super) sha256: Digest,
}

impl Stamp {
    /// Reads the stamp of the last run. `None` if it is missing or unreadable.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The stamp of a run that has made `output` from `inputs`, and that started at the date of the file `started`. `None` if an
    /// input has changed since then: the tool may have read it before, so that the next run must build again.
    pub(super) fn of(
        recipe: Digest,
        inputs: Inputs,
        output: OutputFile,
        check: CheckResult,
        started: &Path,
    ) -> Result<Option<Self>, Failure> {
        let Inputs { files, folders, tool_folders } = inputs;
        let files = digests(files, &folders, &tool_folders)?;
        let (_, started) = length_and_date(started).map_err(Failure::file("read", started))?;
        let is_newer = |path: &PathBuf| length_and_date(path).is_ok_and(|(_, modified)| modified > started);
        if files.keys().any(is_newer) {
            return Ok(None);
        }
        Ok(Some(Self { recipe, folders, tool_folders, files, output, check }))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec(self).map_err(|error| Failure::failed(error.to_string()))?;
        fs::write(path, text).map_err(Failure::file("write", path))
    }

    /// Whether a new run would make the same file: the recipe and each input are the same, and the file is as the last run left
    /// it. Otherwise says what has changed.
    pub(super) fn is_current(&self, recipe: &str, output: &Path) -> Result<(), String> {
        if self.recipe != recipe {
            return Err("the declaration or a tool has changed".to_owned());
        }
        let files = self.files.keys().cloned().collect();
        let now = digests(files, &self.folders, &self.tool_folders).map_err(|failure| failure.to_string())?;
        let changed = |path: &&PathBuf| self.files.get(*path) != now.get(*path);
        if let Some(path) = self.files.keys().chain(now.keys()).find(changed) {
            return Err(format!("{} has changed", path.display()));
        }
        match self.output.is(output) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{} was changed by something else", output.display())),
            Err(_) => Err(format!("{} does not exist", output.display())),
        }
    }
}

impl OutputFile {
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let read = || -> io::Result<Self> {
            let (bytes, modified) = length_and_date(path)?;
            Ok(Self { bytes, modified, sha256: digest(&fs::read(path)?) })
        };
        read().map_err(Failure::file("read", path))
    }

    fn is(&self, path: &Path) -> io::Result<bool> {
        let (bytes, modified) = length_and_date(path)?;
        Ok(bytes == self.bytes && (modified == self.modified || digest(&fs::read(path)?) == self.sha256))
    }
}

fn length_and_date(path: &Path) -> io::Result<(u64, u128)> {
    let found = fs::metadata(path)?;
    let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((found.len(), modified.as_nanos()))
}

/// The digests of these files, and of all files in these folders.
fn digests(
    mut files: Vec<PathBuf>,
    folders: &[PathBuf],
    tool_folders: &[PathBuf],
) -> Result<BTreeMap<PathBuf, Option<Digest>>, Failure> {
    for folder in folders {
        walk(folder, &[], &mut files)?;
    }
    for folder in tool_folders {
        walk(folder, &["build", "dist"], &mut files)?;
    }
    files
        .into_iter()
        .map(|path| match fs::read(&path) {
            Ok(bytes) => Ok((path, Some(digest(&bytes)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
            Err(error) => Err(Failure::file("read", &path)(error)),
        })
        .collect()
}

/// Adds the files of a folder, except those in its own folders with the `skipped` names, or the path itself if it is a file.
fn walk(path: &Path, skipped: &[&str], files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(Failure::file("read the folder", path))? {
        let entry = entry.map_err(Failure::file("read the folder", path))?;
        let (name, kind) = (entry.file_name(), entry.file_type());
        let name = name.to_string_lossy();
        let is_folder = kind.is_ok_and(|kind| kind.is_dir());
        let is_made = || skipped.contains(&name.as_ref()) || is_made_by_tools(&entry.path(), &name);
        if name.starts_with('.') || (is_folder && is_made()) {
            continue;
        }
        // A link to a folder is not followed: it could form a circle.
        if is_folder {
            walk(&entry.path(), &[], files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Whether the content of a folder is made from other inputs, or belongs to tools or to the app. A name such as `env` alone does not
/// tell: it can be a package of the server.
fn is_made_by_tools(folder: &Path, name: &str) -> bool {
    let is_of_app = |folder: &Path| TAURI_FILES.iter().any(|file| folder.join(file).is_file());
    match name {
        "node_modules" | "__pycache__" => true,
        "env" | "venv" => folder.join("pyvenv.cfg").is_file(),
        "target" => folder.join("CACHEDIR.TAG").is_file() || folder.with_file_name("Cargo.toml").is_file(),
        "src-tauri" => is_of_app(folder),
        "binaries" => folder.parent().is_some_and(is_of_app),
        _ => false,
    }
}

/// The SHA-256 of some bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("src/main.ts", "main");
            folder.write("tool/main.py", "main");
            folder.write("output", "program");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, content: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn stamp(&self) -> Stamp {
            let inputs = Inputs {
                files: vec![self.path("lock")],
                folders: vec![self.path("src")],
                tool_folders: vec![self.path("tool")],
            };
            let output = OutputFile::of(&self.path("output")).unwrap();
            self.write("started", "");
            let check = CheckResult { said: "checked".to_owned(), recipe: "with".to_owned() };
            let stamp = Stamp::of("recipe".to_owned(), inputs, output, check, &self.path("started"));
            let stamp = stamp.unwrap().unwrap();
            stamp.write(&self.path("stamp")).unwrap();
            assert_eq!(Stamp::read(&self.path("stamp")), Some(stamp.clone()));
            stamp
        }

        fn is_current(&self, stamp: &Stamp) -> Result<(), String> {
            stamp.is_current("recipe", &self.path("output"))
        }
    }

    #[test]
    fn nothing_has_changed() {
        let folder = Folder::new();
        let stamp = folder.stamp();
        assert_eq!(folder.is_current(&stamp), Ok(()));
        // The same content with a new date.
        folder.write("src/main.ts", "main");
        folder.write("output", "program");
        assert_eq!(folder.is_current(&stamp), Ok(()));
    }

    #[test]
    fn each_kind_of_change_is_found() {
        type Change = fn(&Folder);
        let changes: [(&str, Change); 5] = [
            ("main.ts has changed", |folder| folder.write("src/main.ts", "Main")),
            ("new.ts has changed", |folder| folder.write("src/deep/new.ts", "")),
            ("main.ts has changed", |folder| fs::remove_file(folder.path("src/main.ts")).unwrap()),
            ("lock has changed", |folder| folder.write("lock", "")),
            ("output was changed by something else", |folder| folder.write("output", "Program")),
        ];
        for (expected, change) in changes {
            let folder = Folder::new();
            let stamp = folder.stamp();
            change(&folder);
            let found = folder.is_current(&stamp).unwrap_err();
            assert!(found.ends_with(expected), "{found}");
        }
    }

    #[test]
    fn a_missing_output_and_another_recipe_are_changes() {
        let folder = Folder::new();
        let stamp = folder.stamp();
        assert!(stamp.is_current("other", &folder.path("output")).is_err());
        fs::remove_file(folder.path("output")).unwrap();
        assert!(folder.is_current(&stamp).unwrap_err().ends_with("output does not exist"));
    }

    #[test]
    fn what_tools_make_is_no_input() {
        let folder = Folder::new();
        folder.write("src/crate/Cargo.toml", "");
        folder.write("src/app/tauri.conf.json", "{}");
        let stamp = folder.stamp();
        for name in [
            "src/node_modules/a/index.js",
            "src/target/CACHEDIR.TAG",
            "src/target/debug/a",
            "src/crate/target/debug/a",
            "src/.git/HEAD",
            "src/__pycache__/a.pyc",
            "src/venv/pyvenv.cfg",
            "src/venv/lib/a.py",
            "src/app/binaries/a",
            "src/src-tauri/tauri.conf.json",
            "src/src-tauri/src/main.rs",
            "tool/build/a.o",
            "tool/dist/a",
        ] {
            folder.write(name, "");
        }
        assert_eq!(folder.is_current(&stamp), Ok(()));
    }

    #[test]
    fn sources_in_folders_with_names_of_tools_are_inputs() {
        for name in [
            "src/env/env.go",
            "src/venv/venv.go",
            "src/dist/index.html",
            "src/build/build.go",
            "src/target/target.go",
            "src/binaries/a.go",
            "src/src-tauri/a.go",
            "tool/deep/build/a.py",
        ] {
            let folder = Folder::new();
            folder.write(name, "old");
            let stamp = folder.stamp();
            folder.write(name, "new");
            assert!(folder.is_current(&stamp).is_err(), "{name}");
        }
    }

    #[test]
    fn an_input_that_changes_during_the_build_leaves_no_stamp() {
        let folder = Folder::new();
        let started = fs::File::create(folder.path("started")).unwrap();
        // An hour before the input was written.
        let date = fs::metadata(folder.path("src/main.ts")).unwrap().modified().unwrap();
        started.set_modified(date - std::time::Duration::from_secs(3600)).unwrap();
        let inputs = Inputs { folders: vec![folder.path("src")], ..Inputs::default() };
        let output = OutputFile::of(&folder.path("output")).unwrap();
        let check = CheckResult { said: String::new(), recipe: String::new() };
        let stamp = Stamp::of(String::new(), inputs, output, check, &folder.path("started"));
        assert_eq!(stamp.unwrap(), None);
    }

    #[test]
    fn an_unreadable_stamp_counts_as_none() {
        let folder = Folder::new();
        folder.write("stamp", "{");
        assert_eq!(Stamp::read(&folder.path("stamp")), None);
    }
}
