//! The exit reports of a sidecar as files, one for each run: `FOLDER/SIDECAR/START-PROGRAM-NUMBER.json`.
//!
//! While a run goes on, its file has the ending `.run`, and is locked by the app and by the guard, which holds the same open file. A
//! file whose lock is free belongs to a run that has ended without the app: the next start makes a report of it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{
    report::{
        exit_report::ExitReport,
        folder_name::folder_name,
        unfinished_run::{Head, conclude},
    },
    wall_clock::now_ms,
};

/// How many reports of a sidecar are kept.
pub(super) const MAX_REPORTS: usize = 20;
/// The most that is read of a file.
const READ_LIMIT: u64 = 1024 * 1024;

/// The folder with the reports of one sidecar.
#[derive(Debug)]
pub(super) struct ReportFolder(PathBuf);

/// The file of a run that goes on. Dropping it gives up the app's part of the lock.
#[derive(Debug)]
pub(crate) struct RunFile {
    path: PathBuf,
    file: File,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// All reports, oldest first.
    pub(super) reports: Vec<ExitReport>,
    /// Those of them that were concluded just now.
    pub(super) concluded: Vec<ExitReport>,
    /// Whether a run of another program or of a dead one still goes on.
    pub(super) unfinished: bool,
}

impl ReportFolder {
    pub(super) fn new(folder: &Path, sidecar: &str) -> Self {
        Self(folder.join(folder_name(sidecar)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the file of a run that is about to start. `number` distinguishes it from all other runs of this program.
    pub(super) fn begin(&self, head: &Head, number: u64) -> io::Result<RunFile> {
        create_private(&self.0)?;
        let name = format!("{:013}-{}-{number}", head.started_at, this_program());
        let (new, path) = (self.0.join(format!("{name}.new")), self.0.join(format!("{name}.run")));
        let mut file = private().append(true).create_new(true).open(&new)?;
        // Under its name only once it is locked: a free lock means that the run has ended.
        let begun = file.try_lock().map_err(io::Error::from).and_then(|()| {
            file.write_all(format!("{}\n", serde_json::to_string(head)?).as_bytes())?;
            fs::rename(&new, &path)
        });
        match begun {
            Ok(()) => Ok(RunFile { path, file }),
            Err(error) => {
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }

    /// Replaces the file of a run by its report, and removes the oldest reports.
    pub(super) fn finish(&self, run: &RunFile, report: &ExitReport) -> io::Result<()> {
        let written = write(&run.path, report);
        // Also after an error: the next start of the app must not take the run for one that the app did not outlive.
        let removed = fs::remove_file(&run.path);
        self.prune();
        written.and(removed)
    }

    /// Reads all reports, and makes a report of each run that has ended without its app.
    pub(super) fn load(&self) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        for path in self.files("run")? {
            match conclude_file(&path) {
                Ok(Concluded::Report(report)) => loaded.concluded.push(*report),
                Ok(Concluded::GoesOn) if is_ours(&path) => {}
                Ok(Concluded::GoesOn) => loaded.unfinished = true,
                Ok(Concluded::Nothing) => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read the file of a run"),
            }
        }
        for path in self.files("json")? {
            // A file of a later version may have words that this one does not know.
            match read(&path).and_then(|text| Ok(serde_json::from_str(&text)?)) {
                Ok(report) => loaded.reports.push(report),
                Err(error) => tracing::debug!(path = %path.display(), %error, "not an exit report"),
            }
        }
        self.prune();
        Ok(loaded)
    }

    /// Removes the oldest reports. One that cannot be removed is tried again after the next run.
    fn prune(&self) {
        let mut files = self.files("json").unwrap_or_default();
        files.truncate(files.len().saturating_sub(MAX_REPORTS));
        for file in files {
            if let Err(error) = fs::remove_file(&file) {
                tracing::debug!(path = %file.display(), %error, "cannot remove an old exit report");
            }
        }
    }

    /// The files of runs with this ending, oldest first. The folder may hold files that are not ours.
    fn files(&self, ending: &str) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == ending) && is_of_run(&path) {
                files.push(path);
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

impl RunFile {
    /// Appends a line, at this time.
    pub(crate) fn note(&mut self, line: &str) {
        // A full disk makes the later report poorer, and nothing else.
        let _ = self.file.write_all(format!("{} {line}\n", now_ms()).as_bytes());
    }

    /// The same open file, with the same lock, for the guard.
    pub(crate) fn for_guard(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Removes the file: no process was started.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// What the file of a run says.
enum Concluded {
    Report(Box<ExitReport>),
    /// The run goes on, or its guard ends it now.
    GoesOn,
    /// Another program has just dealt with it, or the file is not one of a run.
    Nothing,
}

fn conclude_file(path: &Path) -> io::Result<Concluded> {
    // Windows locks a file only for a caller that may write it.
    let mut file = match private().append(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Concluded::Nothing),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Concluded::GoesOn),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Another copy of the app may have made a report of it between the two calls.
    if !path.exists() {
        return Ok(Concluded::Nothing);
    }
    // The app has made the report and died before it removed this file.
    if path.with_extension("json").exists() {
        fs::remove_file(path)?;
        return Ok(Concluded::Nothing);
    }
    let mut text = Vec::new();
    file.rewind()?;
    (&mut file).take(READ_LIMIT).read_to_end(&mut text)?;
    let report = conclude(&String::from_utf8_lossy(&text));
    if let Some(report) = &report {
        write(path, report)?;
    }
    fs::remove_file(path)?;
    Ok(report.map_or(Concluded::Nothing, |report| Concluded::Report(Box::new(report))))
}

/// Writes the report beside the file of its run, as a whole: no reader sees a part of it.
fn write(run: &Path, report: &ExitReport) -> io::Result<()> {
    let (new, path) = (run.with_extension("new"), run.with_extension("json"));
    // A program that died has left it. A new file never is a link that leads elsewhere, and has our mode.
    let _ = fs::remove_file(&new);
    let mut file = private().write(true).create_new(true).open(&new)?;
    let written = serde_json::to_vec_pretty(report)
        .map_err(io::Error::from)
        .and_then(|text| file.write_all(&text))
        .and_then(|()| fs::rename(&new, &path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(READ_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Creates a folder, and those above it, that other users cannot enter. On Windows, the folder of the app decides that.
pub(super) fn create_private(folder: &Path) -> io::Result<()> {
    let mut folders = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
    folders.recursive(true).create(folder)
}

/// Files that other users cannot read. On Windows, the folder of the app decides that.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A random number of this program: process ids repeat, in a container at every start.
pub(super) fn this_program() -> &'static str {
    static NUMBER: OnceLock<String> = OnceLock::new();
    NUMBER.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without random bytes, the process id has to do.
        match getrandom::fill(&mut bytes) {
            Ok(()) => format!("{:016x}", u64::from_le_bytes(bytes)),
            Err(_) => format!("{:016x}", std::process::id()),
        }
    })
}

/// Whether the text has the form of [`this_program`].
pub(super) fn is_program(number: &str) -> bool {
    number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the name is one that [`ReportFolder::begin`] gives: a time, a random number in hexadecimal digits, and a number.
fn is_of_run(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let parts: Vec<_> = stem.split('-').collect();
    let [time, program, number] = parts[..] else { return false };
    let decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    decimal(time) && is_program(program) && decimal(number)
}

fn is_ours(run: &Path) -> bool {
    run.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(this_program()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::exit_report::{EndReason, tests::report};

    fn head(run: u64) -> Head {
        Head { sidecar: "backend".to_owned(), started_at: 1000 + run, restarts: 0 }
    }

    fn folder() -> (tempfile::TempDir, ReportFolder) {
        let base = tempfile::tempdir().unwrap();
        let folder = ReportFolder::new(base.path(), "backend");
        (base, folder)
    }

    #[test]
    fn the_last_reports_are_kept_in_the_order_of_their_starts() {
        let (_base, folder) = folder();
        for run in 1..=MAX_REPORTS as u64 + 3 {
            let file = folder.begin(&head(run), run).unwrap();
            folder.finish(&file, &ExitReport { run, ..report() }).unwrap();
        }
        let loaded = folder.load().unwrap();
        let runs: Vec<_> = loaded.reports.iter().map(|report| report.run).collect();
        assert_eq!(runs, (4..=MAX_REPORTS as u64 + 3).collect::<Vec<_>>());
        assert!(loaded.concluded.is_empty() && !loaded.unfinished);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MAX_REPORTS);
    }

    #[test]
    fn a_run_that_its_app_did_not_outlive_is_concluded_once_no_process_holds_its_file() {
        let (_base, folder) = folder();
        let mut file = folder.begin(&head(1), 1).unwrap();
        file.note("pid 4711 1");
        // A copy that the guard holds.
        let guard = file.for_guard().unwrap();
        drop(file);
        assert!(folder.load().unwrap().concluded.is_empty(), "the guard still ends the run");
        drop(guard);
        let loaded = folder.load().unwrap();
        assert_eq!(loaded.concluded, loaded.reports);
        assert_eq!((loaded.concluded[0].pid, loaded.concluded[0].reason), (Some(4711), EndReason::AppDeath));
        let again = folder.load().unwrap();
        assert_eq!((again.concluded.len(), again.reports.len()), (0, 1), "each end is reported once");
    }

    #[test]
    fn files_that_are_no_reports_are_left_out() {
        let (_base, folder) = folder();
        folder.begin(&head(1), 1).unwrap().discard();
        let of_run = |number: u32, ending: &str| format!("1000-0123456789abcdef-{number}.{ending}");
        for (name, text) in [
            (of_run(1, "json"), "{"),
            (of_run(2, "json"), r#"{"reason":"later"}"#),
            (of_run(3, "run"), ""),
            (of_run(4, "txt"), "x"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let loaded = folder.load().unwrap();
        assert!(loaded.reports.is_empty() && loaded.concluded.is_empty(), "{loaded:?}");
    }

    #[test]
    fn files_of_the_user_are_never_removed() {
        let (_base, folder) = folder();
        let file = folder.begin(&head(1), 1).unwrap();
        let names: Vec<_> = (0..=MAX_REPORTS).map(|number| format!("note-{number}.json")).collect();
        for name in names.iter().map(String::as_str).chain(["1-2-3.json", "plan.run"]) {
            fs::write(folder.path().join(name), "mine").unwrap();
        }
        folder.finish(&file, &report()).unwrap();
        drop(file);
        assert_eq!(folder.load().unwrap().reports.len(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), names.len() + 3);
    }

    #[test]
    fn a_report_that_the_app_has_made_is_not_replaced_by_the_next_start() {
        let (_base, folder) = folder();
        let file = folder.begin(&head(1), 1).unwrap();
        let left = fs::read(&file.path).unwrap();
        folder.finish(&file, &report()).unwrap();
        let path = file.path.clone();
        drop(file);
        // The app died before it could remove the file of the run.
        fs::write(&path, left).unwrap();
        let loaded = folder.load().unwrap();
        assert_eq!((loaded.concluded.len(), loaded.reports), (0, vec![report()]));
        assert!(!path.exists());
    }

    #[test]
    fn a_report_that_cannot_be_written_leaves_no_run_for_the_next_start() {
        let (_base, folder) = folder();
        let file = folder.begin(&head(1), 1).unwrap();
        fs::create_dir(file.path.with_extension("json")).unwrap();
        folder.finish(&file, &report()).unwrap_err();
        let path = file.path.clone();
        // Wine 8 and file systems such as FAT remove the name with the last handle.
        drop(file);
        assert!(!path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_base, folder) = folder();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = folder.begin(&head(1), 1).unwrap();
        assert_eq!(mode(&file.path), 0o600);
        folder.finish(&file, &report()).unwrap();
        assert_eq!(mode(&folder.files("json").unwrap()[0]), 0o600);
        assert_eq!(mode(folder.path()), 0o700);
    }
}
