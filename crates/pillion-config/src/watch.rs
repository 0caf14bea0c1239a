//! Which files the patterns of `dev.watch` mean.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf, is_separator},
};

use glob::{MatchOptions, Pattern, PatternError};

/// `*` and `**` match no hidden file or folder. Windows does not distinguish upper and lower case in names, also in those without wildcards.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: !cfg!(windows),
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Folders of installed or generated files, which `**` does not enter.
const NO_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];
/// Files that mark such folders: <https://bford.info/cachedir/> (Cargo's target folder, caches of Python's tools), and a virtual
/// environment of Python (PEP 405).
const MARKS_OF_NO_SOURCES: [&str; 2] = ["CACHEDIR.TAG", "pyvenv.cfg"];

/// The files that the patterns of `dev.watch` mean.
///
/// `*`, `?` and `[…]` match within one name, `**` any folders. The name of a folder means all files in it. A pattern that begins with `!`
/// leaves out files or folders. `**` enters a symbolic link to a folder, but no folder twice. In a name that is not Unicode, each
/// invalid part counts as a character.
#[derive(Debug, Clone)]
pub struct WatchPatterns {
    wanted: Vec<Wanted>,
    /// Matched with the path below the folder of the patterns.
    left_out: Vec<Pattern>,
}

/// A pattern: a path without wildcards, and the parts after it.
#[derive(Debug, Clone)]
struct Wanted {
    base: String,
    parts: Vec<Part>,
}

/// A part of a pattern between two separators.
#[derive(Debug, Clone)]
enum Part {
    /// `**`
    Folders,
    Name(Pattern),
}

/// A pattern, by its number, and how many of its parts have matched.
type Reached = BTreeSet<(usize, usize)>;

impl WatchPatterns {
    /// Reads the patterns.
    ///
    /// # Errors
    /// A pattern that is invalid, and the reason.
    pub fn new(patterns: &[String]) -> Result<Self, (String, String)> {
        let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
        for text in patterns {
            let error = |error: PatternError| (text.clone(), error.to_string());
            match text.strip_prefix('!') {
                Some(text) => {
                    // A folder of which everything is left out need not be read.
                    let folder = text.strip_suffix("**").and_then(|text| text.strip_suffix(is_separator));
                    let folder = folder.map(Pattern::new).transpose().map_err(error)?;
                    left_out.extend(folder);
                    left_out.push(Pattern::new(text).map_err(error)?);
                }
                None => wanted.push(Wanted::new(text).map_err(error)?),
            }
        }
        Ok(Self { wanted, left_out })
    }

    /// The files below `folder` that exist and match, with absolute paths if `folder` has one. Folders that cannot be read are empty.
    #[must_use]
    pub fn files(&self, folder: &Path) -> BTreeSet<PathBuf> {
        let mut search = Search { patterns: self, folder, seen: HashSet::new(), files: BTreeSet::new() };
        let mut bases = BTreeMap::<_, Reached>::new();
        for (number, wanted) in self.wanted.iter().enumerate() {
            let start = self.with_skipped_folders([(number, 0)].into());
            bases.entry(&wanted.base).or_default().extend(start);
        }
        for (base, reached) in bases {
            let path = if base.is_empty() { folder.to_owned() } else { folder.join(base) };
            if path.is_dir() {
                search.enter(&path, reached, true);
            } else if path.is_file() && reached.iter().any(|place| self.is_whole(*place)) {
                search.add(path);
            }
        }
        search.files
    }

    /// Adds the places behind each `**`, which may stand for no folder at all.
    fn with_skipped_folders(&self, mut reached: Reached) -> Reached {
        let mut places: Vec<_> = reached.iter().copied().collect();
        while let Some((number, part)) = places.pop() {
            let next = (number, part + 1);
            if matches!(self.part((number, part)), Some(Part::Folders)) && reached.insert(next) {
                places.push(next);
            }
        }
        reached
    }

    fn part(&self, (number, part): (usize, usize)) -> Option<&Part> {
        self.wanted[number].parts.get(part)
    }

    /// Whether all parts have matched.
    fn is_whole(&self, place: (usize, usize)) -> bool {
        self.part(place).is_none()
    }

    /// Where the patterns are after a file or folder of this name.
    fn after(&self, reached: &Reached, name: &str) -> Reached {
        let next = reached.iter().filter_map(|place| match self.part(*place)? {
            Part::Folders => (!name.starts_with('.') && !NO_SOURCES.contains(&name)).then_some(*place),
            Part::Name(pattern) => pattern.matches_with(name, OPTIONS).then_some((place.0, place.1 + 1)),
        });
        self.with_skipped_folders(next.collect())
    }
}

impl Wanted {
    fn new(text: &str) -> Result<Self, PatternError> {
        // It checks what no part shows, such as `a**`.
        Pattern::new(text)?;
        let names: Vec<_> = text.split(is_separator).collect();
        let literal = names.iter().take_while(|name| !name.contains(['*', '?', '['])).count();
        let parts = names[literal..].iter().filter(|name| !name.is_empty()).map(|name| match *name {
            "**" => Ok(Part::Folders),
            name => Pattern::new(name).map(Part::Name),
        });
        let mut parts: Vec<_> = parts.collect::<Result<_, _>>()?;
        if parts.is_empty() {
            // A file, or all files in a folder.
            parts.push(Part::Folders);
        }
        let mut base = names[..literal].join("/");
        // The root: without the separator, it were this folder, or the working directory on that drive of Windows.
        let is_root = base.is_empty() || (cfg!(windows) && base.len() == 2 && base.ends_with(':'));
        if literal == 1 && is_root && text[base.len()..].starts_with(is_separator) {
            base.push('/');
        }
        Ok(Self { base, parts })
    }
}

/// One look at the files.
struct Search<'a> {
    patterns: &'a WatchPatterns,
    folder: &'a Path,
    /// The folders that were entered, without symbolic links in their paths, and where the patterns were.
    seen: HashSet<(PathBuf, Reached)>,
    files: BTreeSet<PathBuf>,
}

impl Search<'_> {
    /// Looks into a folder. `named` says that a pattern names it without a wildcard.
    fn enter(&mut self, path: &Path, mut reached: Reached, named: bool) {
        reached.retain(|place| !self.patterns.is_whole(*place));
        // Symbolic links can form circles, and with two of them the number of paths doubles at each level.
        let Ok(real) = fs::canonicalize(path) else { return };
        if reached.is_empty() || !self.seen.insert((real, reached.clone())) {
            return;
        }
        let Ok(entries) = fs::read_dir(path) else { return };
        let mut entries: Vec<_> = entries.flatten().map(|entry| (entry.file_name(), entry)).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let is_mark = |name: &OsStr| MARKS_OF_NO_SOURCES.iter().any(|mark| name == *mark);
        if !named && entries.iter().any(|(name, _)| is_mark(name)) {
            // The parts of a pattern behind `**` are reached by way of it.
            let patterns = self.patterns;
            let by_folders = |&(number, part): &(usize, usize)| {
                patterns.wanted[number].parts[..part].iter().any(Part::is_folders)
            };
            reached
                .retain(|place| !by_folders(place) && !matches!(patterns.part(*place), Some(Part::Folders)));
        }
        for (name, entry) in entries {
            let next = self.patterns.after(&reached, &name.to_string_lossy());
            if next.is_empty() {
                continue;
            }
            let Ok(mut kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_symlink() {
                let Ok(target) = fs::metadata(&path) else { continue };
                kind = target.file_type();
            }
            if kind.is_dir() {
                if !self.leaves_out(&path) {
                    self.enter(&path, next, false);
                }
            } else if kind.is_file() && next.iter().any(|place| self.patterns.is_whole(*place)) {
                self.add(path);
            }
        }
    }

    fn add(&mut self, path: PathBuf) {
        if !self.leaves_out(&path) {
            self.files.insert(path);
        }
    }

    fn leaves_out(&self, path: &Path) -> bool {
        if self.patterns.left_out.is_empty() {
            return false;
        }
        let below = path.strip_prefix(self.folder).unwrap_or(path).to_string_lossy();
        // What is left out may be hidden.
        let options = MatchOptions { require_literal_leading_dot: false, ..OPTIONS };
        self.patterns.left_out.iter().any(|pattern| pattern.matches_with(&below, options))
    }
}

impl Part {
    fn is_folders(&self) -> bool {
        matches!(self, Self::Folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    /// The files that these patterns mean, below `folder`, with slashes.
    fn matching(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let files = WatchPatterns::new(&patterns).unwrap().files(folder);
        let shown = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
        files.iter().map(shown).collect()
    }

    #[test]
    fn wildcards_names_and_folders_match() {
        let folder = tree(&[
            "main.ts",
            "src/a.ts",
            "src/b/c.ts",
            "src/b/d.md",
            "src/.e.ts",
            "src/.f/g.ts",
            "[x]/h.ts",
        ]);
        let all = |patterns: &[&str]| matching(folder.path(), patterns);
        assert_eq!(all(&["src/**/*.ts"]), ["src/a.ts", "src/b/c.ts"]);
        assert_eq!(all(&["**/*.ts"]), ["[x]/h.ts", "main.ts", "src/a.ts", "src/b/c.ts"]);
        assert_eq!(all(&["src/*"]), ["src/a.ts"]);
        assert_eq!(all(&["*/b/?.ts", "main.ts"]), ["main.ts", "src/b/c.ts"]);
        assert_eq!(all(&["[[]x]/*"]), ["[x]/h.ts"]);
        assert_eq!(all(&["src/.f/*.ts", "src/.*.ts"]), ["src/.e.ts", "src/.f/g.ts"]);
        for everything in ["src", "src/", "src/**", "./src/**"] {
            assert_eq!(all(&[everything]).len(), 3, "{everything}");
        }
        assert!(all(&["absent", "absent/**", "main.ts/**/*.ts"]).is_empty());
    }

    #[test]
    fn a_package_beside_the_backend_can_be_named() {
        let folder = tree(&["backend/main.ts", "shared/src/a.ts", "shared/gen/b.ts"]);
        let patterns = ["../shared/**/*.ts", "!../shared/gen/**"];
        let backend = folder.path().join("backend");
        assert_eq!(matching(&backend, &patterns), ["../shared/src/a.ts"]);
        let absolute = format!("{}/shared/**/*.ts", Pattern::escape(folder.path().to_str().unwrap()));
        let files = WatchPatterns::new(&[absolute]).unwrap().files(&backend);
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn an_exclamation_mark_leaves_out() {
        let folder = tree(&["a.py", "gen/b.py", "gen/c/d.py", "x/gen/e.py", "x/f_pb2.py"]);
        assert_eq!(matching(folder.path(), &["**/*.py", "!gen/**", "!**/*_pb2.py"]), ["a.py", "x/gen/e.py"]);
        assert_eq!(matching(folder.path(), &["!**/gen", "**/*.py"]), ["a.py", "x/f_pb2.py"]);
        assert!(matching(folder.path(), &["!gen/**"]).is_empty());
    }

    #[test]
    fn folders_of_installed_and_generated_files_are_entered_by_their_name_alone() {
        let folder = tree(&[
            "main.py",
            "node_modules/a/b.py",
            "env/pyvenv.cfg",
            "env/lib/c.py",
            "target/CACHEDIR.TAG",
            "target/out/d.py",
        ]);
        assert_eq!(matching(folder.path(), &["**/*.py"]), ["main.py"]);
        let named = ["node_modules/a/**", "env/lib/*.py", "target/**/*.py"];
        assert_eq!(
            matching(folder.path(), &named),
            ["env/lib/c.py", "node_modules/a/b.py", "target/out/d.py"]
        );
    }

    #[cfg(windows)]
    #[test]
    fn upper_and_lower_case_are_the_same_on_windows() {
        let folder = tree(&["Src/a/Main.PY", "Src/Gen/b.py"]);
        let all = |patterns: &[&str]| matching(folder.path(), patterns);
        assert_eq!(all(&["**/*.py", "!src/gen/**"]), ["Src/a/Main.PY"]);
        assert_eq!(all(&[r"src\**\main.py"]), ["src/a/Main.PY"]);
        assert_eq!(all(&[r"src\**\*.py", r"!SRC\gen\**"]), ["src/a/Main.PY"]);
    }

    #[test]
    fn a_pattern_may_begin_at_a_root() {
        let base = |pattern| Wanted::new(pattern).unwrap().base;
        let roots = if cfg!(windows) {
            [("/*.py", "/"), (r"C:\*.py", "C:/")]
        } else {
            [("/*.py", "/"), ("C:/*.py", "C:")]
        };
        for (pattern, root) in roots {
            assert_eq!(base(pattern), root);
        }
        assert_eq!(base("*.py"), "");
    }

    #[cfg(unix)]
    #[test]
    fn circles_of_links_end() {
        use std::os::unix::fs::symlink;
        let folder = tree(&["main.py", "a/b/c.py"]);
        for link in ["one", "two", "a/three", "a/b/four"] {
            symlink(folder.path(), folder.path().join(link)).unwrap();
        }
        symlink("nowhere", folder.path().join("broken.py")).unwrap();
        symlink("main.py", folder.path().join("link.py")).unwrap();
        assert_eq!(matching(folder.path(), &["**/*.py"]), ["a/b/c.py", "link.py", "main.py"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_folder_is_entered() {
        use std::os::unix::fs::symlink;
        let folder = tree(&["backend/main.py", "shared/a.py"]);
        symlink("../shared", folder.path().join("backend/lib")).unwrap();
        assert_eq!(matching(&folder.path().join("backend"), &["**/*.py"]), ["lib/a.py", "main.py"]);
    }

    /// The file system of macOS has no such names.
    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_unicode_do_no_harm() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tree(&["main.py"]);
        for name in [&b"\xe9t\xe9.txt"[..], b"\xe9t\xe9.py"] {
            fs::write(folder.path().join(OsStr::from_bytes(name)), "").unwrap();
        }
        assert_eq!(matching(folder.path(), &["**/*.py"]), ["main.py", "\u{fffd}t\u{fffd}.py"]);
    }

    #[test]
    fn an_invalid_pattern_is_named() {
        for invalid in ["src/***", "a**/b", "!x**", "[a"] {
            let (pattern, reason) = WatchPatterns::new(&[invalid.to_owned()]).unwrap_err();
            assert_eq!(pattern, invalid);
            assert!(!reason.is_empty());
        }
    }
}
