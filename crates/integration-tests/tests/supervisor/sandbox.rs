//! Sandboxes and limits that take something away that the supervisor or the guard uses. It works all the same, or says what is
//! lost.

use std::{fs::File, process::Stdio, time::Instant};

#[cfg(target_arch = "x86_64")]
use integration_tests::sandbox::refusing;
use integration_tests::{ProcessTree, ReportServer, TEST_TIMEOUT, TestMarker, run, sandbox::may};
use pillion::{FailureKind, Program, State, StopOutcome, Supervisor};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::tree;

/// What `pillion run --json` reported.
#[derive(Debug, Default)]
struct Reported {
    states: Vec<String>,
    notices: Vec<String>,
    lines: Vec<String>,
    /// Whether a guard ran when the sidecar was ready.
    guarded: bool,
}

impl Reported {
    fn noticed(&self, text: &str) -> bool {
        self.notices.iter().any(|notice| notice.contains(text))
    }
}

/// Runs `sandbox` (a program with arguments) with `pillion run … sh -c SCRIPT` as its further arguments, and stops that when the
/// sidecar is ready: by a byte on stdin, which `sandbox` passes on as SIGTERM, or else by SIGINT.
async fn run_in(tree: &ProcessTree, sandbox: &[&str], byte: bool, script: &str) -> Reported {
    let mut command = Command::new(sandbox[0]);
    command
        .args(&sandbox[1..])
        .arg(env!("CARGO_BIN_EXE_pillion-under-test"))
        .args(["run", "--json", "--grace", "1s", "--", "sh", "-c", script])
        .env("FAKE", env!("CARGO_BIN_EXE_fake-sidecar"))
        .env(TestMarker::VARIABLE, tree.marker())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    #[expect(clippy::disallowed_methods, reason = "the tree watches over it")]
    let mut pillion = command.spawn().unwrap();
    let mut stdin = pillion.stdin.take().unwrap();
    let mut lines = BufReader::new(pillion.stdout.take().unwrap()).lines();
    let mut reported = Reported::default();
    while let Some(line) = lines.next_line().await.unwrap() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("notice") => reported.notices.push(text("message")),
            Some("output") => reported.lines.push(text("line")),
            Some("state") if reported.states.last() != Some(&text("state")) => {
                reported.states.push(text("state"));
                if event["state"] == "ready" {
                    let alive = tree.alive();
                    reported.guarded = alive.iter().any(integration_tests::LiveProcess::is_guard);
                    if byte {
                        stdin.write_all(b"\n").await.unwrap();
                    } else {
                        let pillion = alive.into_iter().find(|it| it.runs("pillion-under-test"));
                        pillion.unwrap().signal(Signal::INT).unwrap();
                    }
                }
                if event["state"] == "stopped" {
                    break;
                }
            }
            _ => {}
        }
    }
    // The end of stdin ends a sandbox that waits for it. Until then it keeps its namespace alive.
    let deadline = Instant::now() + TEST_TIMEOUT;
    let is_sidecar = |it: &integration_tests::LiveProcess| it.runs("fake-sidecar") || it.runs("python3");
    for sidecar in tree.sidecars().into_iter().filter(is_sidecar) {
        assert!(sidecar.ends_before(deadline), "{sidecar:?} survives in the sandbox");
    }
    drop(stdin);
    pillion.wait().await.unwrap();
    reported
}

const STATES: [&str; 4] = ["starting", "ready", "stopping", "stopped"];

/// A cooperative server, and a daemon that ignores SIGTERM.
const WITH_DAEMON: &str = r#"exec "$FAKE" listen ok daemon ignore-term close park \; announce term exit 0"#;

/// The same with a daemon that needs no `/proc` to start.
const WITH_PYTHON_DAEMON: &str = r#"
python3 -c '
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 3)
while True: signal.pause()
'
exec "$FAKE" listen ok announce term exit 0"#;

#[test]
fn without_proc_a_guard_ends_a_daemon_all_the_same() {
    const NO_PROC: [&str; 6] = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs none /proc && { [ $# = 0 ] || exec "$@"; }"#,
    ];
    if !may(&NO_PROC) {
        return;
    }
    run(async {
        let tree = tree();
        let ignores_term = r#"trap '' TERM; sleep 1000 & exec "$FAKE" listen ok announce ignore-term park"#;
        let sandbox = [&NO_PROC[..], &["sh"]].concat();
        for script in [WITH_PYTHON_DAEMON, ignores_term] {
            let reported = run_in(&tree, &sandbox, false, script).await;
            assert_eq!(reported.states, STATES, "{reported:?}");
            assert!(reported.guarded && reported.noticed("/proc is missing"), "{reported:?}");
        }
    });
}

#[test]
fn with_the_proc_of_an_outer_pid_namespace_a_guard_ends_a_daemon_all_the_same() {
    if !may(&["unshare", "--map-root-user", "--pid", "--fork", "true"]) {
        return;
    }
    run(async {
        let tree = tree();
        // The shell is the namespace's first process. While it lives, the kernel ends no other.
        let script =
            r#"exec 3<&0; "$@" 3<&- </dev/null & read -r _ <&3; kill -TERM $!; wait $!; read -r _ <&3"#;
        let sandbox =
            ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"];
        let reported = run_in(&tree, &sandbox, true, WITH_DAEMON).await;
        assert_eq!(reported.states, STATES, "{reported:?}");
        assert!(reported.guarded && reported.noticed("another PID namespace"), "{reported:?}");
    });
}

#[test]
fn where_memory_must_not_be_executed_the_guard_runs_all_the_same() {
    for level in ["1", "2"] {
        // The setting belongs to the PID namespace.
        let script = format!(r#"echo {level} >/proc/sys/vm/memfd_noexec && {{ [ $# = 0 ] || exec "$@"; }}"#);
        let sandbox = [
            "unshare",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            &script,
        ];
        if !may(&sandbox) {
            return;
        }
        run(async {
            let tree = tree();
            let reported = run_in(&tree, &[&sandbox[..], &["sh"]].concat(), false, WITH_DAEMON).await;
            assert_eq!(reported.states, STATES, "level {level}: {reported:?}");
            assert!(reported.guarded && reported.notices.is_empty(), "level {level}: {reported:?}");
        });
    }
}

#[test]
fn a_limit_for_the_size_of_files_costs_the_guard_and_not_the_app() {
    run(async {
        let tree = tree();
        let script = r#"exec "$FAKE" listen ok announce term exit 0"#;
        let reported = run_in(&tree, &["sh", "-c", r#"ulimit -f 0 && exec "$@""#, "sh"], false, script).await;
        assert_eq!(reported.states, STATES, "{reported:?}");
        assert!(!reported.guarded && reported.noticed("ulimit -f"), "{reported:?}");
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_refused_subreaper_is_a_notice() {
    let filter = refusing(157, Some((0, 36)), 1);
    if !may(&["python3", "-c", &filter]) {
        return;
    }
    run(async {
        let tree = tree();
        let script = r#"exec "$FAKE" listen ok announce term exit 0"#;
        let reported = run_in(&tree, &["python3", "-c", &filter], false, script).await;
        assert_eq!(reported.states, STATES, "{reported:?}");
        assert!(reported.noticed("PR_SET_CHILD_SUBREAPER"), "{reported:?}");
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn without_close_range_no_descriptor_leaks() {
    let filter = refusing(436, None, 38);
    if !may(&["python3", "-c", &filter]) {
        return;
    }
    // A program with many descriptors starts its guard in another way, which needs the call as well.
    let many = "import os\nfor _ in range(80): os.set_inheritable(os.dup(0), True)\n";
    for filter in [filter.clone(), format!("{many}{filter}")] {
        run(async {
            let tree = tree();
            let script =
                r#"[ -e /proc/$$/fd/77 ] && echo leaked; exec "$FAKE" listen ok announce term exit 0"#;
            let reported = run_in(&tree, &["python3", "-c", &filter], false, script).await;
            assert_eq!(reported.states, STATES, "{reported:?}");
            assert!(reported.guarded && !reported.lines.iter().any(|line| line == "leaked"), "{reported:?}");
        });
    }
}

#[test]
fn the_dynamic_linker_reads_the_sidecars_variables_only_in_the_sidecar() {
    run(async {
        let tree = tree();
        // The linker complains once in each process that reads this.
        let program =
            tree.fake("env LD_PRELOAD listen ok announce term exit 0").env("LD_PRELOAD", "/nowhere.so");
        let (supervisor, mut events) = Supervisor::start(tree.spec(program));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
        drop(supervisor);
        let (mut complaints, mut seen) = (0, false);
        while let Some(event) = events.next().await {
            if let pillion::SidecarEvent::Output(batch) = event {
                complaints +=
                    batch.lines().filter(|line| line.text().contains("cannot be preloaded")).count();
                seen |= batch.lines().any(|line| line.text() == "LD_PRELOAD=/nowhere.so");
            }
        }
        assert!(seen && complaints == 1, "seen by the sidecar: {seen}; complaints: {complaints}");
    });
}

#[test]
fn a_start_does_not_block_its_caller() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let fifo = folder.path().join("program");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        // A start reads its program to compare the digest. It waits for the other end of this one.
        let (supervisor, _) = Supervisor::start(tree.spec(Program::new(&fifo).sha256("0".repeat(64))));
        assert_eq!(supervisor.status().state, State::Starting);
        // The caller goes on, and opens that end.
        drop(File::options().write(true).open(&fifo).unwrap());
        assert_eq!(supervisor.ready().await.unwrap_err().kind, FailureKind::Mismatch);
    });
}

#[test]
fn a_guard_that_cannot_run_is_killed_and_its_sidecar_with_it() {
    // Stops the process as a debugger does. SIGCONT does not continue it.
    const TRACE: &str = "import ctypes, os, sys\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         pid = int(sys.argv[1])\n\
         print('attached' if libc.ptrace(16, pid, None, None) == 0 else 'refused', flush=True)\n\
         sys.stdin.read()";
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "fork-without-env ignore-term report {} up park ; listen ok announce park",
            reports.port()
        );
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        let child = reports.wait_for("up").await;
        let guard = tree.alive().into_iter().find(integration_tests::LiveProcess::is_guard).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", TRACE, &guard.pid.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[expect(clippy::disallowed_methods, reason = "the end of its stdin ends it")]
        let mut tracer = command.spawn().unwrap();
        let mut lines = BufReader::new(tracer.stdout.take().unwrap()).lines();
        if lines.next_line().await.unwrap().as_deref() != Some("attached") {
            let _ = supervisor.stop().await;
            return eprintln!("not tested: ptrace(2) is not allowed here");
        }
        let outcome = supervisor.kill().await;
        assert!(matches!(outcome, StopOutcome::Killed(_)), "{outcome:?}");
        child.wait_death().await;
        drop(tracer.stdin.take());
        tracer.wait().await.unwrap();
    });
}

/// It emulates some forms of clone(2), and ends a program that asks for another one.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_under_valgrind_starts_a_sidecar() {
    let valgrind = ["valgrind", "-q", "--tool=none", "--trace-children=no"];
    if !may(&["valgrind", "-q", "--tool=none", "true"]) {
        return;
    }
    let output = std::process::Command::new(valgrind[0])
        .args(&valgrind[1..])
        .arg(env!("CARGO_BIN_EXE_pillion-under-test"))
        .args(["run", "--ready", "started", "--", "sh", "-c", "echo up"])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout == b"up\n", "{output:?}");
}
