//! The two output streams, with and without a reader.

use std::{
    fs,
    process::{Command, Stdio},
};

use integration_tests::{ReportServer, run};
use rustix::{
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair},
    process::Signal,
};
use tokio::io::AsyncReadExt as _;

use crate::support::{FAKE, PILLION, Pillion, tree, words};

/// Reads until the output says that the sidecar is ready: stdout with `--json`, else stderr.
pub(crate) async fn until_ready(pillion: &mut Pillion, options: &str) -> String {
    if options.contains("--json") {
        read_until(pillion.0.stdout.as_mut().unwrap(), r#""state":"ready""#).await
    } else {
        read_until(pillion.0.stderr.as_mut().unwrap(), "is ready at").await
    }
}

pub(crate) async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin), wanted: &str) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if text.contains(wanted) {
            return text.into_owned();
        }
        let byte = stream.read_u8().await;
        read.push(byte.unwrap_or_else(|error| panic!("{error} before {wanted:?} in {text:?}")));
    }
}

#[test]
fn both_streams_pass_unchanged() {
    run(async {
        let tree = tree();
        let steps = "out a\\xff\\xfe\\x00b\\n\\n\\rprogress\\rc\\n err \\xe2\\x82\\n out last exit 3";
        let mut pillion = Pillion::run(&tree, "", steps);
        let mut err = Vec::new();
        pillion.0.stderr.take().unwrap().read_to_end(&mut err).await.unwrap();
        let mut out = Vec::new();
        pillion.0.stdout.take().unwrap().read_to_end(&mut out).await.unwrap();
        assert_eq!(
            out.escape_ascii().to_string(),
            b"a\xff\xfe\x00b\n\n\rprogress\rc\nlast\n".escape_ascii().to_string()
        );
        assert!(err.split(|byte| *byte == b'\n').any(|line| line == b"\xe2\x82"), "{}", err.escape_ascii());
        assert!(!err.contains(&0x1b), "colours without a terminal: {}", err.escape_ascii());
        assert_eq!(pillion.0.wait().await.unwrap().code(), Some(125));
    });
}

#[test]
fn a_message_is_written_in_one_call() {
    // It keeps the bytes of each call apart.
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let mut pillion = Command::new(PILLION);
    pillion.args(words("", "exit 3")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs);
    assert_eq!(pillion.status().unwrap().code(), Some(125));
    drop(pillion);
    let mut messages = 0;
    loop {
        let mut message = vec![0; 64 * 1024];
        let (length, _) = recv(&ours, &mut message[..], RecvFlags::empty()).unwrap();
        if length == 0 {
            break;
        }
        let message = &message[..length];
        assert!(message.ends_with(b"\n"), "a part of a message: {}", message.escape_ascii());
        messages += 1;
    }
    assert!(messages >= 2, "{messages} messages");
}

#[test]
fn a_program_is_named_by_its_file_or_by_an_option() {
    run(async {
        for (options, name) in [("", "fake-sidecar"), ("--name shop", "shop")] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = format!("listen ok announce report {} up wait exit 0", reports.port());
            let mut pillion = Pillion::run(&tree, options, &steps);
            let mut sidecar = reports.wait_for("up").await;
            let said = until_ready(&mut pillion, "").await;
            assert!(said.contains(&format!("{name} is starting as process ")), "{said}");
            assert!(said.contains(&format!("{name} is ready at")), "{said}");
            sidecar.resume().await;
            let ended = pillion.end().await;
            assert!(
                ended.stderr.contains(&format!("{name} is down: exited with code 0 by itself")),
                "{}",
                ended.stderr
            );
        }
    });
}

#[test]
fn the_health_path_can_be_chosen_and_port_is_withheld() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen /up env PORT announce report {} up wait exit 0", reports.port());
        let mut pillion = Pillion::run(&tree, "--health /up", &steps);
        let mut sidecar = reports.wait_for("up").await;
        until_ready(&mut pillion, "").await;
        sidecar.resume().await;
        let ended = pillion.end().await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stdout.starts_with(b"PORT is unset\n"), "{}", ended.stdout.escape_ascii());
    });
}

#[test]
fn a_closed_stdout_ends_the_program() {
    run(async {
        for options in ["", "--json"] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = format!(
                "listen ok announce out one\\n report {} up wait out two\\n term exit 0",
                reports.port()
            );
            let mut pillion = Pillion::run(&tree, options, &steps);
            let mut sidecar = reports.wait_for("up").await;
            read_until(pillion.0.stdout.as_mut().unwrap(), "one").await;
            // head(1) does the same.
            drop(pillion.0.stdout.take());
            sidecar.resume().await;
            assert_eq!(pillion.end().await.status, 0, "{options}");
            tree.assert_dead();
        }
    });
}

#[test]
fn an_unread_stdout_blocks_neither_the_program_nor_its_stop() {
    run(async {
        for options in ["", "--json"] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let port = reports.port();
            let steps = format!(
                "listen ok announce lines 200000 report {port} written term report {port} stopping out end\\n exit 6"
            );
            // 20 MB, without a reader.
            let pillion = Pillion::run(&tree, options, &steps);
            reports.wait_for("written").await;
            let status = fs::read_to_string(format!("/proc/{}/status", pillion.pid())).unwrap();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim();
            let peak: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
            assert!(peak < 48 * 1024, "{peak} KiB");
            pillion.signal(Signal::INT);
            reports.wait_for("stopping").await.wait_death().await;
            // A late reader gets the end of the output and a note about the missing part.
            let ended = pillion.end().await;
            let out = String::from_utf8(ended.stdout).unwrap();
            assert_eq!(ended.status, 6, "{}", ended.stderr);
            if options.is_empty() {
                assert!(out.ends_with("\nend\n"));
                assert!(ended.stderr.contains("some of it is missing here"), "{}", ended.stderr);
            } else {
                assert!(out.contains(r#""line":"end""#) && out.contains(r#"{"event":"missed","count":"#));
                assert!(out.lines().last().unwrap().contains(r#""state":"stopped""#));
            }
        }
    });
}

#[test]
fn the_last_output_is_shown_before_the_result() {
    run(async {
        let tree = tree();
        let flood = r#""$0" listen ok announce lines 200000 err last\\swords\\n exit 9"#;
        let ended = Pillion::start(&tree, ["run", "--", "sh", "-c", flood, FAKE]).end().await;
        let (_, result) = ended.stderr.split_once("\nlast words\n").expect("the last output is shown");
        assert!(result.contains("exited with code 9"), "{result}");
        assert!(ended.stdout.ends_with(format!("{:099}\n", 199_999).as_bytes()));
    });
}

#[test]
fn an_unfinished_line_is_shown_before_its_end() {
    run(async {
        for (options, shown, last) in [
            ("", "unfinished line on stderr: 55%\n", "\n10%\r55%\r100%\n"),
            (
                "--json",
                r#"{"event":"unfinished","stream":"stderr","line":"55%"}"#,
                r#"{"event":"output","stream":"stderr","line":"10%\r55%\r100%"}"#,
            ),
        ] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = format!("err 10%\\r55% report {} drawn wait err \\r100%\\n exit 0", reports.port());
            let mut pillion = Pillion::run(&tree, options, &steps);
            let mut sidecar = reports.wait_for("drawn").await;
            let read = if options.is_empty() {
                read_until(pillion.0.stderr.as_mut().unwrap(), shown).await
            } else {
                read_until(pillion.0.stdout.as_mut().unwrap(), shown).await
            };
            assert!(!read.contains("10%"), "{read}");
            sidecar.resume().await;
            let ended = pillion.end().await;
            let text = read + &ended.stderr + &String::from_utf8(ended.stdout).unwrap();
            assert!(text.contains(last), "{text}");
        }
    });
}

#[test]
fn the_output_is_kept_in_a_log_directory() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let options = format!("--name shop --log-dir {}", folder.path().display());
        let ended = Pillion::run(&tree, &options, "err WARN\\slow exit 3").end().await;
        assert_eq!(ended.status, 125, "{}", ended.stderr);
        let mut files = fs::read_dir(folder.path().join("shop")).unwrap();
        let text = fs::read_to_string(files.next().unwrap().unwrap().path()).unwrap();
        assert!(text.lines().any(|line| line.ends_with(" 1 stderr warn WARN low")), "{text}");
        assert!(text.contains(" 1 pillion warn shop exited with code 3"), "{text}");
    });
}
