//! `pillion report`, about a running `pillion run`.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
};

use integration_tests::{ReportServer, run};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
};

use crate::{
    control::User,
    streams::read_until,
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
        let mut app = Pillion::spawn(&user.tree, command, words(&options, &steps));
        let _sidecar = reports.wait_for("up").await;
        // Its control socket is open before anything is shown.
        read_until(app.0.stderr.as_mut().unwrap(), "is ready at").await;
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

#[test]
fn an_app_that_ends_meanwhile_or_hangs_does_not_prevent_a_report_about_the_others() {
    run(async {
        let user = User::new();
        let (shop, _shop) = user.app("--name shop", "term exit 0").await;
        // A name alone. How the client notices one that hangs meanwhile is tested in pillion-control.
        let ended = 2;
        begin_reports(&user, ended);
        // This one does not even greet.
        let _silent = UnixListener::bind(user.sockets().join("1-0123456789abcdef.sock")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.zip");
        let arguments = format!("report --output {} --project {}", path.display(), folder.path().display());
        let written = user.pillion(&arguments).await;
        assert_eq!(written.status, 0, "{}", written.stderr);
        let mut archive = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let mut text = |ending: String| {
            let name = archive.file_names().find(|name| name.ends_with(&ending)).unwrap().to_owned();
            let mut text = String::new();
            archive.by_name(&name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(text(format!("mail-{ended}/README.txt")), "Mail.");
        let why = text(format!("mail-{ended}/problem.txt"));
        assert!(why.contains("has ended") && written.stderr.contains(&why), "{why}: {}", written.stderr);
        assert!(text("problems.txt".to_owned()).contains("process id 1: the app does not answer"));
        assert!(text(format!("{}/sidecars/shop/states.jsonl", shop.pid())).contains("ready"));
        shop.signal(Signal::TERM);
        shop.end().await;
    });
}

/// An app without sidecars that sends the first file of a report, and then closes the connection.
fn begin_reports(user: &User, pid: u32) {
    let listener = UnixListener::bind(user.sockets().join(format!("{pid}-0123456789abcdef.sock"))).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut client = BufReader::new(client);
            let app = format!("{{\"name\":\"mail\",\"pid\":{pid},\"version\":null,\"identifier\":null}}");
            let greeting = format!("{{\"pillionControl\":1,\"control\":\"read\",\"app\":{app}}}\n");
            let mut request = String::new();
            // An app that starts connects as well, only to see whether this one has ended, and is gone then.
            if client.write_all(greeting.as_bytes()).await.is_err()
                || client.read_line(&mut request).await.is_err()
            {
                continue;
            }
            if request.contains("status") {
                client.write_all(b"{\"answer\":\"done\"}\n").await.unwrap();
            } else if request.contains("diagnose") {
                let file = b"{\"answer\":\"file\",\"name\":\"README.txt\",\"text\":\"Mail.\"}\n";
                client.write_all(file).await.unwrap();
            }
        }
    });
}
