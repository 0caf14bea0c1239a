//! `pillion report`, about a running `pillion run`.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
};

use integration_tests::{ReportServer, run};
use rustix::process::Signal;

use crate::{
    control::User,
    support::{PILLION, Pillion, words},
};

#[test]
fn a_report_has_the_output_and_the_states_and_no_secret() {
    run(async {
        let (user, reports) = (User::new(), ReportServer::new().await);
        let steps = format!(
            "listen ok announce log seen env SHOP_API_KEY env SHOP_REGION out token=planted-1\\n report {} up term exit 0",
            reports.port()
        );
        let mut command = tokio::process::Command::new(PILLION);
        user.environment(&mut command);
        command.env("SHOP_API_KEY", "planted-2").env("SHOP_REGION", "north-1");
        let folder = tempfile::tempdir().unwrap();
        // Of an earlier start.
        fs::create_dir(folder.path().join("shop")).unwrap();
        let earlier = folder.path().join("shop/2000-01-01T00-00-00-000Z-0123456789abcdef.log");
        fs::write(earlier, "key planted-2, token=planted-3\n").unwrap();
        let options = format!("--name shop --log-dir {}", folder.path().display());
        let app = Pillion::spawn(&user.tree, command, words(&options, &steps));
        let _sidecar = reports.wait_for("up").await;
        let path = folder.path().join("report.zip");
        let arguments = format!("report --output {0} --project {1}", path.display(), folder.path().display());
        let written = user.pillion(&arguments).await;
        assert_eq!(written.status, 0, "{}", written.stderr);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut archive = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let mut files = Vec::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert!(!text.contains("planted"), "{}: {text}", file.name());
            files.push((file.name().to_owned(), text));
        }
        // Other apps of this user can run, too.
        let text = |name: &str| {
            let name = format!("{}/{name}", app.pid());
            let found = files.iter().find(|(file, _)| file.ends_with(&name));
            &found.unwrap_or_else(|| panic!("no {name} in {files:?}")).1
        };
        let output = text("sidecars/shop/output.log");
        assert!(
            output.contains(" seen") && output.contains("SHOP_API_KEY=[value of SHOP_API_KEY]"),
            "{output}"
        );
        // Its name is not that of a secret, and it is not declared.
        assert!(output.contains("SHOP_REGION=north-1"), "{output}");
        let logs = text("sidecars/shop/log-files.log");
        assert!(logs.starts_with("key [value of SHOP_API_KEY], token=[redacted]\n"), "{logs}");
        assert!(text("sidecars/shop/states.jsonl").contains("\"ready\""));
        assert!(text("environment.txt").lines().any(|name| name == "SHOP_API_KEY"));

        let again = user.pillion(&arguments).await;
        assert_eq!(again.status, 1, "an existing file is not replaced");
        assert!(again.stderr.contains("report.zip"), "{}", again.stderr);
        let pid = app.pid();
        app.signal(Signal::TERM);
        app.end().await;
        let unwritten = folder.path().join("none.zip");
        let none = user.pillion(&format!("report --app {pid} --output {}", unwritten.display())).await;
        assert_eq!((none.status, unwritten.exists()), (1, false));
        // Other apps of this user can run, or none.
        assert!(none.stderr.contains("no app "), "{}", none.stderr);
    });
}
