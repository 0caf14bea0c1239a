use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    super::log_lines::journal::{
        COMMIT, COMMITS, FILLED, FOLDER, FOLDER_SIZE, HEADER, MAX_BYTES, NAME, NAME_SIZE, PROGRAM, RUN,
        RUN_HEAD, SIZE, SLOT, SLOT_HEAD, STREAM_HEAD, TOKEN, TOKEN_SIZE, put, put_text, slot,
    },
    *,
};

const FILE: &str = "2026-11-29T12-00-00-123Z-0123456789abcdef.log";
const FORM: &str = "2026-11-29T12:00:00.123Z ";
const TOKEN_OF_1: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A journal of an app that is dead, with its last log file. Its `written` lines are in the commit.
struct Fixture {
    base: tempfile::TempDir,
    journal: File,
}

impl Fixture {
    fn new(written: &str, uncommitted: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("sidecar");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), format!("{written}{uncommitted}")).unwrap();
        let journal = tempfile::tempfile().unwrap();
        let mut header = vec![0; HEADER];
        put(&mut header, MAX_BYTES, u64::MAX);
        header[PROGRAM..PROGRAM + 16].copy_from_slice(b"0123456789abcdef");
        put_text(&mut header, NAME, NAME_SIZE, b"sidecar");
        put_text(&mut header, FOLDER, FOLDER_SIZE, folder.as_os_str().as_encoded_bytes());
        let commit = Commit { file: FILE.to_owned(), length: written.len() as u64, ..Commit::default() };
        commit.encode(&mut header[COMMITS..COMMITS + COMMIT]);
        journal.write_all_at(&header, 0).unwrap();
        journal.set_len(SIZE as u64).unwrap();
        Self { base, journal }
    }

    /// A run whose stdout has this in its only slot.
    fn run(&self, place: usize, number: u64, bytes: &str) {
        let mut run = vec![0; RUN];
        put(&mut run, 0, number);
        if number == 1 {
            run[TOKEN..TOKEN + TOKEN_SIZE].copy_from_slice(TOKEN_OF_1.as_bytes());
        }
        put(&mut run, RUN_HEAD, 1);
        put(&mut run, RUN_HEAD + FILLED, 1);
        let slot = &mut run[RUN_HEAD + STREAM_HEAD + SLOT..][..SLOT];
        put(slot, slot::READ, bytes.len() as u64);
        slot[SLOT_HEAD..SLOT_HEAD + bytes.len()].copy_from_slice(bytes.as_bytes());
        self.journal.write_all_at(&run, Run::start(place)).unwrap();
    }

    /// What the guard of the run at this place does, which reads these bytes.
    fn guard(&self, place: usize, drained: &[&str]) -> io::Result<()> {
        let mut log =
            RunLog { journal: Some((self.journal.try_clone().unwrap(), place)), ..RunLog::default() };
        drained.iter().for_each(|bytes| log.add(0, bytes.as_bytes()));
        log.write_all("exited with code 0")
    }

    fn folder(&self) -> std::path::PathBuf {
        self.base.path().join("sidecar")
    }

    /// The lines of the file, without their times.
    fn lines(&self) -> Vec<String> {
        lines(&self.folder().join(FILE))
    }
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap().lines().map(|line| line[FORM.len()..].to_owned()).collect()
}

fn stopped(run: u64) -> String {
    format!("{run} pillion warn sidecar is stopped by its guard, because the app has died")
}

fn ended(run: u64) -> String {
    format!("{run} pillion info sidecar exited with code 0")
}

#[test]
fn the_first_guard_writes_what_all_runs_have_in_the_journal_and_the_others_go_on() {
    let fixture = Fixture::new("", "");
    fixture.run(3, 1, &format!("{TOKEN_OF_1}\none\n"));
    fixture.run(0, 2, "two\nbeg");
    fixture.run(1, 3, &format!("three {TOKEN_OF_1}\nbeg"));
    fixture.guard(1, &["un\n"]).unwrap();
    fixture.guard(0, &["an\nend"]).unwrap();
    let expected: [&str; 11] = [
        "1 stdout - [token]",
        "1 stdout - one",
        "2 stdout - two",
        "3 stdout - three [token]",
        &stopped(3),
        "3 stdout - begun",
        &ended(3),
        &stopped(2),
        "2 stdout - began",
        "2 stdout - end",
        &ended(2),
    ];
    assert_eq!(fixture.lines(), expected);
}

#[test]
fn lines_beyond_the_commit_stay_and_are_not_written_again() {
    let line = |text: &str| format!("{FORM}{text}\n");
    let beyond = [
        line("5 pillion warn 3 lines are missing here"),
        line("5 stdout - one"),
        line("4 stdout - of a run without a place"),
        line("5 stdout - two"),
    ]
    .concat();
    let fixture = Fixture::new(&line("5 stdout - zero"), &format!("{beyond}{FORM}5 stdo"));
    fixture.run(0, 5, "one\ntwo\nthree\nbeg");
    fixture.guard(0, &["un\n"]).unwrap();
    let expected: [&str; 9] = [
        "5 stdout - zero",
        "5 pillion warn 3 lines are missing here",
        "5 stdout - one",
        "4 stdout - of a run without a place",
        "5 stdout - two",
        "5 stdout - three",
        &stopped(5),
        "5 stdout - begun",
        &ended(5),
    ];
    assert_eq!(fixture.lines(), expected);
}

#[test]
fn after_bytes_that_are_not_kept_no_more_are_kept() {
    let fixture = Fixture::new("", "");
    fixture.run(0, 1, "");
    let large = "x".repeat(KEPT_BYTES - 2 * READ);
    fixture.guard(0, &["begun", &large, "end\n"]).unwrap();
    let words =
        format!("wrote {} bytes more, which are missing here: its guard keeps 8 MiB", large.len() + 4);
    let expected: [&str; 4] =
        [&stopped(1), "1 stdout - begun", &format!("1 pillion warn sidecar {words}"), &ended(1)];
    assert_eq!(fixture.lines(), expected);
}

#[test]
fn small_reads_count_with_the_memory_that_they_take() {
    let mut log = RunLog { journal: Some((tempfile::tempfile().unwrap(), 0)), ..RunLog::default() };
    (0..KEPT_BYTES / READ).for_each(|_| log.add(0, b"x"));
    assert!(log.missing > 0);
}

#[test]
fn a_link_in_place_of_the_folder_is_not_followed() {
    let fixture = Fixture::new("", "");
    fixture.run(0, 1, "one\n");
    let elsewhere = fixture.base.path().join("elsewhere");
    fs::rename(fixture.folder(), &elsewhere).unwrap();
    symlink(&elsewhere, fixture.folder()).unwrap();
    assert!(fixture.guard(0, &["two\n"]).is_err());
    assert_eq!(fs::read(elsewhere.join(FILE)).unwrap(), b"");
    // Nothing is lost, once the folder is one.
    fs::remove_file(fixture.folder()).unwrap();
    fixture.guard(0, &["two\n"]).unwrap();
    assert_eq!(fixture.lines(), ["1 stdout - one", &stopped(1), "1 stdout - two", &ended(1)]);
}

#[test]
fn a_guard_goes_on_in_the_file_that_the_guard_before_it_has_begun() {
    let fixture = Fixture::new("", "");
    fixture.run(0, 1, "one\n");
    fixture.run(1, 2, "two\n");
    // Nothing more fits into the first file.
    fixture.journal.write_all_at(&1_u64.to_ne_bytes(), MAX_BYTES as u64).unwrap();
    // Older than what the guards begin now, whatever the clock says.
    let old = "2000-01-01T00-00-00-000Z-0123456789abcdef.log";
    fs::write(fixture.folder().join(old), format!("{FORM}1 stdout - zero\n")).unwrap();
    let mut commit = vec![0; COMMIT];
    Commit { file: old.to_owned(), length: 1000, ..Commit::default() }.encode(&mut commit);
    fixture.journal.write_all_at(&commit, COMMITS as u64).unwrap();
    fs::remove_file(fixture.folder().join(FILE)).unwrap();
    fixture.guard(0, &["last of one\n"]).unwrap();
    fixture.journal.write_all_at(&u64::MAX.to_ne_bytes(), MAX_BYTES as u64).unwrap();
    // Neither a file of another program nor one of the user is gone on with.
    for other in ["9999-11-29T12-00-00-123Z-fedcba9876543210.log", "notes.txt"] {
        fs::write(fixture.folder().join(other), "").unwrap();
    }
    fixture.guard(1, &["last of two\n"]).unwrap();
    let mut files: Vec<_> =
        fs::read_dir(fixture.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with("-0123456789abcdef.log"));
    files.sort();
    let all: Vec<_> = files.iter().flat_map(|file| lines(file)).collect();
    let expected: [&str; 9] = [
        "1 stdout - zero",
        "1 stdout - one",
        "2 stdout - two",
        &stopped(1),
        "1 stdout - last of one",
        &ended(1),
        &stopped(2),
        "2 stdout - last of two",
        &ended(2),
    ];
    assert_eq!(all, expected);
    assert!(files.len() > 1 && lines(&files[0]).len() == 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_guard_that_fails_leaves_the_journal_to_the_next_one() {
    use std::os::fd::AsRawFd as _;
    let fixture = Fixture::new("", "");
    fixture.run(0, 1, "one\n");
    fixture.run(1, 2, "two\n");
    // It cannot note that the lines are written.
    let read_only = File::open(format!("/proc/self/fd/{}", fixture.journal.as_raw_fd())).unwrap();
    let mut log = RunLog { journal: Some((read_only, 0)), ..RunLog::default() };
    log.add(0, b"lost with the first guard\n");
    assert!(log.write_all("exited with code 0").is_err());
    fixture.guard(1, &["end\n"]).unwrap();
    assert_eq!(
        fixture.lines(),
        ["1 stdout - one", "2 stdout - two", &stopped(2), "2 stdout - end", &ended(2)]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_guard_that_fails_has_written_to_new_files_is_not_written_again() {
    use std::os::fd::AsRawFd as _;
    let fixture = Fixture::new("", "");
    fixture.run(0, 1, "one\n");
    fixture.run(1, 2, "two\nthree\n");
    // Nothing more fits into the first file.
    fixture.journal.write_all_at(&1_u64.to_ne_bytes(), MAX_BYTES as u64).unwrap();
    let old = "2000-01-01T00-00-00-000Z-0123456789abcdef.log";
    fs::remove_file(fixture.folder().join(FILE)).unwrap();
    let zero = format!("{FORM}1 stdout - zero\n");
    fs::write(fixture.folder().join(old), &zero).unwrap();
    let mut commit = vec![0; COMMIT];
    Commit { file: old.to_owned(), length: zero.len() as u64, ..Commit::default() }.encode(&mut commit);
    fixture.journal.write_all_at(&commit, COMMITS as u64).unwrap();
    let read_only = File::open(format!("/proc/self/fd/{}", fixture.journal.as_raw_fd())).unwrap();
    let log = RunLog { journal: Some((read_only, 0)), ..RunLog::default() };
    assert!(log.write_all("exited with code 0").is_err());
    fixture.guard(1, &["end\n"]).unwrap();
    let mut files: Vec<_> =
        fs::read_dir(fixture.folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all: Vec<_> = files.iter().flat_map(|file| lines(file)).collect();
    let expected: [&str; 7] = [
        "1 stdout - zero",
        "1 stdout - one",
        "2 stdout - two",
        "2 stdout - three",
        &stopped(2),
        "2 stdout - end",
        &ended(2),
    ];
    assert_eq!(all, expected);
    assert_eq!(lines(&files[0]).len(), 1);
}
