//! A diagnosis has all that is known of a sidecar, and none of its secrets.

use std::{
    collections::HashSet,
    fs,
    io::{Cursor, Read as _},
};

use integration_tests::{ReportServer, run};
use pillion::{
    Diagnosis, Fleet, Log, LogFiles, LogQuery, Spec, State, Supervisor, protocol::environment::TOKEN,
};

use crate::support::tree;

/// The files in the zip file of a diagnosis, by name.
fn unzipped(diagnosis: &Diagnosis) -> Vec<(String, String)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(diagnosis.zip().unwrap())).unwrap();
    let mut file = |index| {
        let mut file = archive.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        (file.name().to_owned(), text)
    };
    (0..diagnosis.files().len()).map(&mut file).collect()
}

/// All kept lines.
async fn lines(supervisor: &Supervisor) -> Vec<String> {
    let mut lines = Vec::new();
    let mut logs = supervisor.logs(LogQuery::default().follow(false));
    while let Some(log) = logs.next().await {
        if let Log::Lines { entries, .. } = log {
            lines.extend(entries.into_iter().map(|entry| entry.text));
        }
    }
    lines
}

/// The token that this run has printed, once all that it prints is kept.
async fn token(supervisor: &Supervisor, run: u64) -> String {
    let (mut token, mut rest) = (None, 2);
    let mut logs = supervisor.logs(LogQuery::default());
    while token.is_none() || rest > 0 {
        let Some(Log::Lines { entries, .. }) = logs.next().await else { continue };
        for entry in entries.into_iter().filter(|entry| entry.run == run) {
            // The last lines of the two streams.
            rest -= usize::from(entry.text.contains("planted-2") || entry.text.contains("planted-3"));
            token = token.or_else(|| entry.text.strip_prefix(&format!("{TOKEN}=")).map(str::to_owned));
        }
    }
    token.unwrap()
}

#[test]
fn no_file_of_a_diagnosis_contains_a_planted_secret() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // After its steps, it names its first argument that is not a step in a panic.
        let steps = format!(
            "env {TOKEN} env DB_PASSWORD env REGION out {{\"password\":\"planted-1\"}}\\n out postgres://me:planted-2@db/x\\n \
             err x-api-key=planted-3\\n report {} up wait",
            reports.port()
        );
        let program = tree
            .fake(&steps)
            .args(["--password=planted-4", "--secret", "planted-5", r#"{"token":"planted-6"}"#])
            .env("DB_PASSWORD", "planted-7 \"quoted\"")
            .env("REGION", "planted-8")
            .private(true);
        let folder = tempfile::tempdir().unwrap();
        // A file of an earlier start of the app. The last MiB begins within its key.
        let earlier = folder.path().join("sidecar/2000-01-01T00-00-00-000Z-0123456789abcdef.log");
        fs::create_dir(earlier.parent().unwrap()).unwrap();
        let key = "planted-9\n".repeat(3_200);
        let key = format!("-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----");
        let rest = format!("{:099}\n", 0).repeat(10_320);
        fs::write(&earlier, format!("planted-8 {key} token=planted-10\n{rest}")).unwrap();
        let logs = LogFiles::new(folder.path());
        let (supervisor, _) = Supervisor::start(tree.spec(program).log_files(logs));
        let mut tokens = Vec::new();
        for run in 1..=2 {
            let mut sidecar = reports.wait_for("up").await;
            tokens.push(token(&supervisor, run).await);
            let mut watch = supervisor.watch();
            // The first argument that is not a step ends it.
            sidecar.resume().await;
            while watch.next().await.unwrap().state != State::Failed {}
            if run == 1 {
                let restarted = supervisor.clone();
                // It waits until the sidecar is ready, which never happens.
                tokio::spawn(async move { restarted.restart().await });
            }
        }
        assert_ne!(tokens[0], tokens[1]);
        let report = supervisor.exit_reports().await.pop().unwrap();
        let printed = [lines(&supervisor).await, report.stdout, report.stderr].concat().join("\n");
        for secret in
            ["planted-1", "planted-2", "planted-3", "planted-4", "planted-7", "planted-8", &tokens[1]]
        {
            assert!(printed.contains(secret), "the test is void if {secret} was not printed: {printed}");
        }

        let mut diagnosis = Diagnosis::of([&supervisor]).await;
        diagnosis.add("notes.txt", &format!("it used {}, and planted-8", tokens[0]));
        let files = unzipped(&diagnosis);
        for (name, text) in &files {
            assert!(!text.contains("planted") && !text.contains("quoted"), "{name}: {text}");
            assert!(!tokens.iter().any(|token| text.contains(token)), "{name}: {text}");
        }
        let text = |name: &str| &files.iter().find(|file| file.0 == name).unwrap().1;
        assert_eq!(text("notes.txt"), "it used [token], and [value of REGION]");
        let output = text("sidecars/sidecar/output.log");
        for marked in [
            "DB_PASSWORD=[value of DB_PASSWORD]",
            "REGION=[value of REGION]",
            "postgres://[credentials]@db/x",
        ] {
            assert!(output.contains(marked), "{marked}: {output}");
        }
        let logs = text("sidecars/sidecar/log-files.log");
        let (earlier, own) = logs.split_once('\n').unwrap();
        assert_eq!(earlier, "[value of REGION] [private key] token=[redacted]");
        for marked in ["stdout - REGION=[value of REGION]", "postgres://[credentials]@db/x"] {
            assert!(own.contains(marked), "{marked}");
        }
        let declaration = text("sidecars/sidecar/declaration.json");
        assert!(
            declaration.contains("DB_PASSWORD") && declaration.contains("--password=[redacted]"),
            "{declaration}"
        );
        assert!(text("sidecars/sidecar/exits.jsonl").lines().count() >= 2);
        assert!(text("sidecars/sidecar/states.jsonl").lines().count() >= 3);
        for name in ["exits", "states"] {
            for line in text(&format!("sidecars/sidecar/{name}.jsonl")).lines() {
                assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
            }
        }
        assert!(text("environment.txt").lines().any(|line| line == "PATH"));
    });
}

#[test]
fn a_diagnosis_has_the_files_of_each_sidecar_whatever_their_names() {
    run(async {
        let tree = tree();
        let names = ["a/b", "a:b", "A:B", "..", ""];
        let fleet = Fleet::start(names.map(|name| Spec::run(name, tree.fake("exit 0")))).unwrap();
        let diagnosis = fleet.diagnose().await;
        let declared = diagnosis.files().iter().filter(|file| file.name.ends_with("/declaration.json"));
        let folders: HashSet<_> = declared.map(|file| file.name.to_lowercase()).collect();
        assert_eq!(folders.len(), names.len(), "{folders:?}");
        fleet.close().await;
    });
}

#[test]
fn a_diagnosis_of_one_sidecar_has_no_secret_of_another_one() {
    run(async {
        let tree = tree();
        let program = |steps| tree.fake(steps);
        let one = Spec::run("one", program("exit 0").args(["of-the-other"]));
        let two = Spec::run("two", program("exit 0").env("API_KEY", "of-the-other"));
        let fleet = Fleet::start([one, two]).unwrap();
        let diagnosis = fleet.diagnose_selected(|name| name == "one").await;
        let all: Vec<_> = diagnosis.files().iter().map(|file| file.text.as_str()).collect();
        assert!(!all.concat().contains("of-the-other"), "{all:?}");
        let of = |name: &str| {
            diagnosis.files().iter().find(|file| file.name == format!("sidecars/{name}/declaration.json"))
        };
        assert!(of("one").unwrap().text.contains("[value of API_KEY]"));
        assert!(of("two").is_none());
        fleet.close().await;
    });
}
