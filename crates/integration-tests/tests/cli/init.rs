//! `pillion init` as its users see it: flags, questions, files, exit status.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use integration_tests::{orphans::terminal, run};
use serde_json::Value;
use tokio::process::Command;

use crate::support::{FinishedPillion, PILLION, Pillion, tree};

const CONFIG: &str = "src-tauri/tauri.conf.json";

/// A Tauri app with a backend for Node.
const FILES: [(&str, &str); 8] = [
    (CONFIG, "{ \"productName\": \"notes\", \"bundle\": { \"active\": true } }\n"),
    (
        "src-tauri/Cargo.toml",
        "[package]\nname = \"notes\"\nversion = \"1.0.0\"\n\n[dependencies]\ntauri = \"2\"\n",
    ),
    ("src-tauri/build.rs", "fn main() {\n    tauri_build::build()\n}\n"),
    ("src-tauri/src/lib.rs", "pub fn run() {\n    tauri::Builder::default().run(context()).unwrap();\n}\n"),
    (
        "src-tauri/capabilities/default.json",
        "{ \"identifier\": \"default\", \"windows\": [\"main\"], \"permissions\": [\"core:default\"] }\n",
    ),
    ("package.json", "{ \"name\": \"notes\", \"dependencies\": {} }\n"),
    ("backend/package.json", "{ \"name\": \"api\", \"dependencies\": {} }\n"),
    ("backend/src/index.ts", "serve();\n"),
];

struct App(tempfile::TempDir);

impl App {
    fn new() -> Self {
        let app = Self(tempfile::tempdir().unwrap());
        FILES.iter().for_each(|(name, text)| app.write(name, text));
        app
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// All files, with their content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }

    async fn init(&self, options: &[&str]) -> FinishedPillion {
        let always = ["init", "--project", self.path().to_str().unwrap()];
        Pillion::start(&tree(), always.iter().chain(options)).end().await
    }
}

fn text(ended: &FinishedPillion) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

#[test]
fn a_dry_run_shows_the_diff_and_writes_nothing() {
    run(async {
        let app = App::new();
        let before = app.files();
        let ended = app.init(&["--dry-run"]).await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        let shown = text(&ended);
        assert!(shown.contains("\n+tauri-plugin-pillion = \""), "{shown}");
        assert!(shown.contains("nothing was written (--dry-run)"), "{shown}");
        // Into a pipe, without colours.
        assert!(!shown.contains('\u{1b}') && ended.stderr.is_empty(), "{shown}{}", ended.stderr);
        assert_eq!(app.files(), before);
    });
}

#[test]
fn yes_writes_the_files_and_a_second_run_changes_nothing() {
    run(async {
        let app = App::new();
        let before = app.files();
        let ended = app.init(&["--yes"]).await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        let written = app.files();
        let changed = written.iter().filter(|(path, text)| before.get(*path) != Some(text)).count();
        assert!(text(&ended).contains(&format!("wrote {changed} files")), "{}", text(&ended));
        assert!(before.keys().all(|path| written.contains_key(path)));
        let config: Value = serde_json::from_slice(&fs::read(app.path().join(CONFIG)).unwrap()).unwrap();
        assert_eq!(config["plugins"]["pillion"]["sidecars"]["backend"]["program"], "notes-backend");

        let again = app.init(&["--yes"]).await;
        assert_eq!(again.status, 0, "{}", again.stderr);
        assert!(text(&again).contains("nothing to change"), "{}", text(&again));
        assert_eq!(app.files(), written);
    });
}

#[test]
fn json_is_one_object_that_says_whether_the_changes_are_written() {
    run(async {
        let app = App::new();
        let before = app.files();
        let report = async |options: &[&str]| {
            let ended = app.init(options).await;
            assert!(ended.status == 0 && ended.stderr.is_empty(), "{}", ended.stderr);
            serde_json::from_slice::<Value>(&ended.stdout).unwrap()
        };
        let planned = report(&["--json", "--dry-run"]).await;
        assert_eq!(planned["written"], false);
        assert_eq!(app.files(), before);
        assert_eq!(planned["backend"]["runtime"], "node");
        assert_eq!(planned["packageManager"], "npm");
        let made = report(&["--json", "--yes"]).await;
        assert_eq!((&made["written"], &made["changes"]), (&true.into(), &planned["changes"]));
        for change in made["changes"].as_array().unwrap() {
            let path = Path::new(change["path"].as_str().unwrap());
            assert_eq!(change["created"], !before.contains_key(path), "{}", path.display());
            assert!(path.is_file(), "{}", path.display());
        }
        let again = report(&["--json", "--yes"]).await;
        assert_eq!((&again["written"], &again["changes"]), (&false.into(), &Value::Array(Vec::new())));
    });
}

#[test]
fn without_a_terminal_a_choice_that_is_missing_is_status_2() {
    run(async {
        let app = App::new();
        let before = app.files();
        let missing = [
            (&[][..], "nothing is written without a yes: add --yes, or --dry-run"),
            (&["--json"], "--json asks nothing: add --yes"),
            (&["--yes", "--backend", "python"], "found no python backend beside "),
            (
                &["--yes", "--backend-dir", "/nonexistent"],
                "the folder /nonexistent of the backend does not exist",
            ),
            (&["--yes", "--name", "a b"], "use letters, digits, - and _"),
            (&["--yes", "--source", "/"], "not a clone of Pillion's repository"),
        ];
        for (options, message) in missing {
            let ended = app.init(options).await;
            assert_eq!(ended.status, 2, "{options:?}: {}", ended.stderr);
            assert!(ended.stderr.contains(message), "{options:?}: {}", ended.stderr);
        }
        assert_eq!(app.files(), before);

        app.write("server/go.mod", "module server\n");
        let ended = app.init(&["--yes"]).await;
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        let (stderr, folder) = (&ended.stderr, app.path().display());
        assert!(stderr.contains("found 2 folders that look like a backend"), "{stderr}");
        assert!(stderr.contains(&format!("node in {folder}/backend, go in {folder}/server")), "{stderr}");
        assert!(stderr.contains("pass --backend-dir FOLDER"), "{stderr}");
        assert_eq!(app.init(&["--yes", "--backend", "go"]).await.status, 0);
    });
}

#[test]
fn a_wrong_file_is_status_1_and_nothing_is_written() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let ended = Pillion::start(&tree(), ["init", "--yes", "--project", folder.path().to_str().unwrap()]);
        let ended = ended.end().await;
        assert!(ended.status == 1 && ended.stderr.contains("found no Tauri app"), "{}", ended.stderr);
        for (name, content, message) in [
            (CONFIG, "{\n  \"bundle\": \n}\n", "tauri.conf.json:3:1: "),
            ("src-tauri/Cargo.toml", "[package\n", "Cargo.toml:1:9: "),
            ("src-tauri/capabilities/default.json", "{\n  \"identifier\": 1\n}\n", "default.json:2:17: "),
            ("package.json", "{ \"name\": }\n", "package.json:1:"),
        ] {
            let app = App::new();
            app.write(name, content);
            let before = app.files();
            let ended = app.init(&["--yes"]).await;
            assert!(ended.status == 1 && ended.stderr.contains(message), "{name}: {}", ended.stderr);
            assert_eq!(app.files(), before, "{name}");
        }
    });
}

/// Runs `pillion init` at a terminal on which this answer is typed. Returns its status and what the terminal showed.
#[expect(clippy::disallowed_methods, reason = "the child is killed with its handle")]
async fn at_a_terminal(app: &App, answer: &str) -> (i32, String) {
    let (mut keyboard, theirs) = terminal().unwrap();
    // The terminal keeps what is typed before it is read.
    keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    let mut command = Command::new(PILLION);
    command.args(["init", "--project", app.path().to_str().unwrap()]).kill_on_drop(true);
    command.stdin(theirs.try_clone().unwrap()).stderr(theirs).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    // The command has the last copies of the terminal's other end.
    drop(command);
    let ended = child.wait_with_output().await.unwrap();
    let mut shown = Vec::new();
    // The end of a terminal is the error EIO.
    let _ = keyboard.read_to_end(&mut shown);
    (ended.status.code().unwrap(), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn a_question_at_the_terminal_decides_whether_files_are_written() {
    run(async {
        let app = App::new();
        let before = app.files();
        for answer in ["", "n", "yes please"] {
            let (status, shown) = at_a_terminal(&app, answer).await;
            assert_eq!(status, 1, "{answer:?}: {shown}");
            assert!(shown.contains("Write these changes? [y/N]"), "{shown}");
            assert_eq!(app.files(), before, "{answer:?}");
        }
        let (status, shown) = at_a_terminal(&app, "y").await;
        assert_eq!(status, 0, "{shown}");
        assert_ne!(app.files(), before);
    });
}
