use super::*;

/// What differs, at one look at the files without the wait before it.
fn look(files: &mut WatchedFiles) -> Vec<String> {
    if files.contents.is_none() {
        files.contents = Some(contents(&files.used));
    }
    if !files.check(files.sources.stamps()) {
        return Vec::new();
    }
    let paths = differing(&files.used, &files.last);
    let read = contents(&files.last);
    files.take(paths, &read).iter().map(|path| files.shown(path)).collect()
}

/// What differs at the second look.
fn settled(files: &mut WatchedFiles) -> Vec<String> {
    assert!(look(files).is_empty(), "the files may still be growing");
    look(files)
}

fn watched(folder: &Path, patterns: &[&str]) -> WatchedFiles {
    let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    WatchedFiles::patterns(folder, WatchPatterns::new(&patterns).unwrap(), OnChange::Restart)
}

/// No pattern finds a verbatim path of Windows (`\\?\C:\…`).
#[test]
fn a_program_beside_the_app_is_found() {
    let own = std::env::current_exe().unwrap();
    let path = crate::desktop::resolve::folder_of_app().unwrap().join(own.file_name().unwrap());
    assert_eq!(WatchedFiles::program(&path, OnChange::Swap).used.len(), 1);
}

#[test]
fn a_program_counts_as_changed_once_it_is_completely_written() {
    let folder = tempfile::tempdir().unwrap();
    // Characters of patterns are characters of the path. Windows allows no asterisk there.
    let name = if cfg!(windows) { "backend[2]" } else { "backend[2]*" };
    let path = folder.path().join(name);
    let mut program = WatchedFiles::program(&path, OnChange::Swap);
    assert!(look(&mut program).is_empty(), "the file does not exist yet");
    fs::write(&path, "half").unwrap();
    assert!(look(&mut program).is_empty(), "the file may still be growing");
    fs::write(&path, "half and half").unwrap();
    assert!(look(&mut program).is_empty(), "the file grew since the last check");
    assert_eq!(look(&mut program), [name]);
    assert!(look(&mut program).is_empty(), "one change is reported once");
    fs::remove_file(&path).unwrap();
    assert!(settled(&mut program).is_empty(), "an absent file cannot be run");
    fs::write(&path, "another build").unwrap();
    assert_eq!(settled(&mut program), [name]);
}

#[test]
fn a_source_that_is_added_changed_or_removed_counts() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("src/a/b");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("main.ts"), "1").unwrap();
    let mut files = watched(folder.path(), &["src/**/*.ts"]);
    assert!(settled(&mut files).is_empty());
    fs::write(source.join("main.ts"), "12").unwrap();
    assert_eq!(settled(&mut files), ["src/a/b/main.ts"]);
    fs::write(folder.path().join("src/other.ts"), "1").unwrap();
    assert_eq!(settled(&mut files), ["src/other.ts"]);
    fs::remove_file(folder.path().join("src/other.ts")).unwrap();
    assert_eq!(settled(&mut files), ["src/other.ts"]);
    fs::write(source.join("notes.md"), "1").unwrap();
    assert!(settled(&mut files).is_empty());
    // The folder is removed, and made again.
    fs::remove_dir_all(folder.path().join("src")).unwrap();
    assert!(settled(&mut files).is_empty(), "without any file, nothing can be run");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("main.ts"), "123").unwrap();
    assert_eq!(settled(&mut files), ["src/a/b/main.ts"]);
}

#[test]
fn a_file_with_the_same_content_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (generated, source) = (folder.path().join("gen.ts"), folder.path().join("main.ts"));
    let touch = |path: &Path, text: &str| {
        let before = stamp(path);
        fs::write(path, text).unwrap();
        // The clock of a file system may be too coarse to tell two writes apart.
        if let Some((modified, _)) = before {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(modified + Duration::from_secs(1)).unwrap();
        }
    };
    touch(&generated, "a");
    touch(&source, "a");
    let mut files = watched(folder.path(), &["*.ts"]);
    assert!(settled(&mut files).is_empty());
    touch(&generated, "a");
    assert!(settled(&mut files).is_empty());
    touch(&generated, "a");
    touch(&source, "b");
    assert_eq!(settled(&mut files), ["main.ts"]);
    touch(&generated, "b");
    assert_eq!(settled(&mut files), ["gen.ts"]);
    touch(&generated, "b");
    assert!(settled(&mut files).is_empty());
    // A large file is not read.
    let large = "a".repeat(usize::try_from(MAX_CONTENT).unwrap() + 1);
    for _ in 0..2 {
        touch(&generated, &large);
        assert_eq!(settled(&mut files), ["gen.ts"]);
    }
}

#[test]
fn a_file_that_changes_at_each_check_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    let mut files = watched(folder.path(), &["**/*"]);
    let mut named = Vec::new();
    for length in 0..usize::try_from(2 * RESTLESS).unwrap() {
        fs::write(&log, "x".repeat(length)).unwrap();
        let now = files.sources.stamps();
        named.extend(files.restless(&now));
        assert!(!files.check(now));
    }
    assert_eq!(named, [log]);
}

#[test]
fn patterns_that_match_no_file_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let files = watched(folder.path(), &["src/**/*.ts"]);
    assert!(files.is_empty());
    assert!(files.why_empty().contains("dev.watch"));
    assert!(!WatchedFiles::program(&folder.path().join("absent"), OnChange::Swap).is_empty());
}
