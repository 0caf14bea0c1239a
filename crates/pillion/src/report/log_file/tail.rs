//! The end of the log files of one sidecar, for a diagnosis.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::folder::LogFolder;
use crate::{report::report_folder::private, spec::LogFiles};

/// The last bytes of all log files of the sidecar together, oldest first, as whole lines. A file that cannot be read has a line that says so.
/// `None` if there is nothing.
pub(crate) fn tail(files: &LogFiles, sidecar: &str, limit: usize) -> Option<String> {
    let folder = LogFolder::new(files, sidecar);
    // A link would lead out of the folder.
    if !fs::symlink_metadata(folder.path()).ok()?.is_dir() {
        return None;
    }
    let (mut parts, mut left) = (Vec::new(), limit);
    for path in folder.files().ok()?.iter().rev() {
        match tail_of(path, left) {
            Ok((part, is_whole)) => {
                left -= part.len();
                parts.push(part);
                if !is_whole {
                    break;
                }
            }
            // It was removed meanwhile, as the oldest one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                parts.push(format!("({name} cannot be read: {error})\n").into_bytes());
            }
        }
    }
    parts.reverse();
    let text = String::from_utf8_lossy(&parts.concat()).into_owned();
    (!text.is_empty()).then_some(text)
}

/// The last whole lines of a file, with so many bytes at most, and whether they are all of it.
fn tail_of(path: &Path, limit: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut file = private().open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(limit as u64);
    // From the byte before, so that a line that begins there is whole.
    let start = skipped.saturating_sub(1);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    // It may grow meanwhile.
    file.take(length - start).read_to_end(&mut text)?;
    if skipped > 0 {
        let start = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
        text.drain(..start);
    }
    Ok((text, skipped == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_all_files_has_whole_lines() {
        let base = tempfile::tempdir().unwrap();
        let files = LogFiles::new(base.path());
        assert_eq!(tail(&files, "backend", 10), None);
        let mut folder = LogFolder::new(&files, "backend");
        for line in ["first\n", "second\nthird\n", "fourth\n"] {
            folder.begin().unwrap().append(line.as_bytes()).unwrap();
            fs::write(folder.path().join("2026.log"), "mine").unwrap();
        }
        for (limit, text) in [
            (100, "first\nsecond\nthird\nfourth\n"),
            (26, "first\nsecond\nthird\nfourth\n"),
            (25, "second\nthird\nfourth\n"),
            (20, "second\nthird\nfourth\n"),
            (19, "third\nfourth\n"),
            (13, "third\nfourth\n"),
            (12, "fourth\n"),
        ] {
            assert_eq!(tail(&files, "backend", limit).as_deref(), Some(text), "{limit}");
        }
        assert_eq!(tail(&files, "backend", 6), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_read() {
        use std::os::unix::fs::symlink;
        let base = tempfile::tempdir().unwrap();
        let files = LogFiles::new(base.path().join("logs"));
        let mut folder = LogFolder::new(&files, "backend");
        folder.begin().unwrap().append(b"line\n").unwrap();
        symlink(folder.path(), files.folder.join("other")).unwrap();
        assert_eq!(tail(&files, "other", 100), None);
        let target = base.path().join("target");
        fs::write(&target, "mine").unwrap();
        symlink(target, folder.path().join("2000-01-01T00-00-00-000Z-0123456789abcdef.log")).unwrap();
        assert_eq!(tail(&files, "backend", 100).as_deref(), Some("line\n"));
    }
}
