//! The control socket, to clients that this crate did not write: slow, malformed, too many, half closed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use integration_tests::{ReportServer, run};
use pillion_control::CONNECTION_LIMIT;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use crate::{control::User, streams::read_until, support::words};

/// Connects as a client that this crate did not write.
pub(crate) async fn connect(path: &Path, request: &str) -> BufReader<UnixStream> {
    let mut stream = BufReader::new(UnixStream::connect(path).await.unwrap());
    let mut greeting = String::new();
    stream.read_line(&mut greeting).await.unwrap();
    assert!(greeting.starts_with(r#"{"pillionControl":1,"app":{"#), "{greeting}");
    stream.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    stream
}

pub(crate) async fn answer(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[test]
fn a_client_that_never_reads_delays_no_sidecar_and_learns_what_it_missed() {
    run(async {
        const LINES: u64 = 200_000;
        let user = User::new();
        let reports = ReportServer::new().await;
        let port = reports.port();
        let steps = format!(
            "listen ok announce report {port} up wait lines {LINES} report {port} done wait out last\\n term exit 0"
        );
        let mut app = user.start(words("--name shop", &steps));
        let mut sidecar = reports.wait_for("up").await;
        read_until(app.0.stderr.as_mut().unwrap(), "is ready at").await;
        let request = r#"{"request":"logs","sidecar":"shop","follow":true,"tail":0}"#;
        let mut slow = connect(&user.found()[0], request).await;
        // The app reads its own output while the sidecar writes, as a terminal does.
        let (mut stdout, mut stderr) = (app.0.stdout.take().unwrap(), app.0.stderr.take().unwrap());
        let shown = tokio::spawn(async move { stdout.read_to_end(&mut Vec::new()).await });
        let said = tokio::spawn(async move { stderr.read_to_end(&mut Vec::new()).await });
        sidecar.resume().await;
        let mut done = reports.wait_for("done").await;
        done.resume().await;
        let (mut next, mut missed) = (None, 0);
        loop {
            let answer = answer(&mut slow).await;
            match answer["answer"].as_str().unwrap() {
                "line" => {
                    let seq = answer["seq"].as_u64().unwrap();
                    assert_eq!(
                        seq,
                        next.unwrap_or(seq),
                        "no line is lost without a count, and none comes twice"
                    );
                    next = Some(seq + 1);
                    if answer["text"] == "last" {
                        break;
                    }
                }
                "missed" => {
                    let lines = answer["lines"].as_u64().unwrap();
                    next = next.map(|next| next + lines);
                    missed += lines;
                }
                other => panic!("{other}"),
            }
        }
        // Kept are 20,000 lines, and some more are under way.
        assert!(missed > LINES / 2, "the client missed only {missed} of {LINES} lines");
        app.signal(Signal::TERM);
        app.0.wait().await.unwrap();
        shown.await.unwrap().unwrap();
        said.await.unwrap().unwrap();
    });
}

#[test]
fn requests_that_are_none_are_answered_by_an_error_and_the_connection_ends() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "term exit 0").await;
        let socket = user.found()[0].clone();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let long = "x".repeat(5_000);
        for (request, kind) in [
            ("hello", "malformed"),
            ("{}", "malformed"),
            (r#"{"request":"logs"}"#, "malformed"),
            (&long, "malformed"),
            (r#"{"request":"format"}"#, "unknownRequest"),
            (r#"{"request":"status","sidecar":"x"}"#, "unknownSidecar"),
            (r#"{"request":"restart","sidecar":"x"}"#, "unknownSidecar"),
            (r#"{"request":"restart","sidecar":"shop"}"#, "notAllowed"),
        ] {
            let mut stream = connect(&socket, request).await;
            let error = answer(&mut stream).await;
            assert_eq!(
                (&error["answer"], &error["kind"]),
                (&"error".into(), &kind.into()),
                "{request}: {error}"
            );
            // The system may reset a connection whose request was not read to its end.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert_eq!(rest, b"");
        }
        // More clients than the app serves: each gets an answer.
        let mut clients = Vec::new();
        for _ in 0..CONNECTION_LIMIT {
            let mut client = connect(&socket, r#"{"request":"watch"}"#).await;
            assert_eq!(answer(&mut client).await["answer"], "status");
            clients.push(client);
        }
        let mut refused = BufReader::new(UnixStream::connect(&socket).await.unwrap());
        assert!(answer(&mut refused).await["pillionControl"].is_u64());
        assert_eq!(answer(&mut refused).await["kind"], "busy");
        drop(clients);
        app.signal(Signal::TERM);
        app.end().await;
    });
}

#[test]
fn a_client_that_closes_its_side_for_writing_gets_what_the_app_has() {
    run(async {
        let user = User::new();
        let (app, _sidecar) = user.app("--name shop", "log past term exit 0").await;
        let socket = user.found()[0].clone();
        let known = [
            (r#"{"request":"status"}"#, r#""state":"ready""#),
            (r#"{"request":"watch"}"#, r#""state":"ready""#),
            (r#"{"request":"usage"}"#, r#""processes":1"#),
            (r#"{"request":"logs","sidecar":"shop"}"#, "BACKEND_PORT:"),
            (r#"{"request":"logs","sidecar":"shop","follow":true}"#, "BACKEND_PORT:"),
        ];
        for (request, part) in known.iter().cycle().take(20 * known.len()) {
            let mut stream = connect(&socket, request).await;
            stream.shutdown().await.unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).await.unwrap();
            let complete = answers.contains(part) && answers.ends_with("{\"answer\":\"done\"}\n");
            assert!(complete, "{request}: {answers}");
        }
        app.signal(Signal::TERM);
        app.end().await;
    });
}
