//! The environment and the descriptors that a sidecar inherits.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
};

use integration_tests::{ProcessTree, isolated, isolated_with, run};
use pillion::{Inherit, OutputStream, Spec, StopOutcome, Supervisor};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::support::{line, rest, status, tree};

async fn output(spec: Spec) -> Vec<String> {
    let (_supervisor, mut events) = Supervisor::start(spec);
    rest(&mut events, OutputStream::Stdout).await.0
}

#[test]
fn each_start_has_its_own_instance() {
    run(async {
        let tree = tree();
        let mut seen = HashSet::new();
        for _ in 0..5 {
            let lines = output(tree.sidecar("env PILLION_INSTANCE env PILLION_PROTOCOL exit 0")).await;
            let instance = lines[0].strip_prefix("PILLION_INSTANCE=").unwrap().to_owned();
            assert!(
                instance.len() == 32 && instance.bytes().all(|byte| b"0123456789abcdef".contains(&byte)),
                "{instance}"
            );
            assert!(seen.insert(instance), "two starts have the same instance");
            assert_eq!(lines[1], "PILLION_PROTOCOL=1");
        }
    });
}

#[test]
fn a_restart_has_a_new_instance() {
    run(async {
        let tree = tree();
        let (supervisor, _events) = Supervisor::start(tree.sidecar("listen ok announce term"));
        supervisor.ready().await.unwrap();
        let before = instance(&tree);
        supervisor.restart().await.unwrap();
        assert_ne!(instance(&tree), before);
        let _ = supervisor.stop().await;
    });
}

fn instance(tree: &ProcessTree) -> String {
    let environment = fs::read_to_string(format!("/proc/{}/environ", tree.sidecars()[0].pid)).unwrap();
    environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("PILLION_INSTANCE="))
        .unwrap()
        .to_owned()
}

#[test]
fn port_and_origins_are_set_if_the_specification_names_them() {
    run(async {
        let tree = tree();
        let names = "env PORT env PILLION_ALLOWED_ORIGINS exit 0";
        assert_eq!(output(tree.sidecar(names)).await, ["PORT is unset", "PILLION_ALLOWED_ORIGINS is unset"]);
        let given = tree.fake(names).env("PORT", "4242").allowed_origins(["tauri://localhost", "http://a:1"]);
        let expected = ["PORT=4242", "PILLION_ALLOWED_ORIGINS=tauri://localhost,http://a:1"];
        assert_eq!(output(tree.spec(given)).await, expected);
    });
}

#[test]
fn arguments_environment_and_directory_arrive_unchanged() {
    run(async {
        let tree = tree();
        let dir = tempfile::tempdir().unwrap();
        let program = tree.program("sh").args([
            "-c",
            r#"printf '%s\n' "$0" "$@" "$NAME"; pwd"#,
            "",
            "a b",
            "*",
            "$HOME",
        ]);
        let program = program.env("NAME", "x=y z").current_dir(dir.path());
        let (_supervisor, mut events) = Supervisor::start(tree.spec(program));
        let (lines, _) = rest(&mut events, OutputStream::Stdout).await;
        assert_eq!(lines[..5], ["", "a b", "*", "$HOME", "x=y z"]);
        assert_eq!(fs::canonicalize(&lines[5]).unwrap(), dir.path().canonicalize().unwrap());
    });
}

#[test]
fn a_sidecar_inherits_its_three_streams_and_no_other_descriptor() {
    isolated("inherited_environment::a_sidecar_inherits_its_three_streams_and_no_other_descriptor", || {
        // The parent of the tests may have left descriptors open for all its descendants.
        let inherited = descriptors("self");
        run(async {
            let tree = tree();
            // Many at once: none of them may hold the lifeline of another, or the supervisor's ends.
            let sidecars: Vec<_> =
                (0..8).map(|_| Supervisor::start(tree.sidecar("ignore-term out up\\n eof exit 0"))).collect();
            let (mut seen, mut supervisors) = (HashSet::new(), Vec::new());
            for (supervisor, mut events) in sidecars {
                let pid = status(&mut events, |status| status.pid.is_some()).await.pid.unwrap();
                line(&mut events, "up").await;
                for number in 0..3 {
                    let pipe = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
                    assert!(seen.insert(pipe.clone()), "{} belongs to another sidecar too", pipe.display());
                }
                let more: Vec<_> = descriptors(&pid.to_string())
                    .into_iter()
                    .filter(|(number, file)| *number > 2 && inherited.get(number) != Some(file))
                    .collect();
                assert!(more.is_empty(), "{more:?}");
                supervisors.push(supervisor);
            }
            // Each of them ignores SIGTERM. The end of its own stdin ends it while the others still run.
            for supervisor in &supervisors {
                let outcome = supervisor.stop().await;
                assert!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
            }
        });
    });
}

/// The environment of the process that starts the sidecar, besides its other variables.
const SURROUNDINGS: &[(&str, &str)] = &[
    ("APPDIR", "/tmp/.mount_test"),
    ("APPIMAGE", "/opt/Test.AppImage"),
    ("XDG_DATA_DIRS", "/tmp/.mount_test/usr/share:/usr/share:"),
    ("GTK_PATH", "/tmp/.mount_test/usr/lib/gtk-3.0"),
    ("PORT", "1"),
    ("HOST", "0.0.0.0"),
    ("LISTEN_FDS", "1"),
    ("LISTEN_PID", "1"),
    ("NOTIFY_SOCKET", "/nowhere"),
    ("PILLION_TOKEN", "someone's"),
    ("HTTPS_PROXY", "http://192.0.2.1"),
    ("http_proxy", "http://192.0.2.1"),
    ("NODE_OPTIONS", "--inspect"),
    ("SECRET_KEY", "k"),
    ("SECRET_NAME", "n"),
    ("LANG", "C"),
];

#[test]
fn the_specification_chooses_the_inherited_variables() {
    let name = "inherited_environment::the_specification_chooses_the_inherited_variables";
    isolated_with(name, SURROUNDINGS, || {
        run(async {
            let tree = tree();
            let given = async |inherit: Inherit| {
                let mut names = names(output(tree.spec(tree.program("env").inherit(inherit))).await);
                names.retain(|name| !name.starts_with("PILLION_") && name != "FAKE");
                names
            };
            assert!(given(Inherit::only([""; 0])).await.is_empty());
            assert_eq!(
                given(Inherit::only(["LANG", "SECRET_*"]).except(["SECRET_KEY"])).await,
                ["LANG", "SECRET_NAME"]
            );
            let usual = given(Inherit::default()).await;
            let ours = SURROUNDINGS.iter().map(|(name, _)| *name);
            let handed_on: Vec<_> = ours.filter(|name| usual.iter().any(|it| it == name)).collect();
            assert_eq!(handed_on, ["XDG_DATA_DIRS", "SECRET_KEY", "SECRET_NAME", "LANG"]);
            let all = given(Inherit::all()).await;
            for name in ["HTTPS_PROXY", "http_proxy", "NODE_OPTIONS"] {
                assert!(all.iter().any(|it| it == name), "{name} is not in {all:?}");
            }
            assert!(all.iter().all(|name| name != "PORT" && name != "APPDIR"), "{all:?}");

            let program = tree.fake("env XDG_DATA_DIRS env PORT env http_proxy env PILLION_TOKEN exit 0");
            let spec = tree.spec(program.env("PORT", "4242").env("http_proxy", "chosen"));
            let expected =
                ["XDG_DATA_DIRS=/usr/share", "PORT=4242", "http_proxy=chosen", "PILLION_TOKEN is unset"];
            assert_eq!(output(spec).await, expected);
        });
    });
}

/// The names in the output of env(1), in order.
fn names(lines: Vec<String>) -> Vec<String> {
    let mut names: Vec<_> =
        lines.iter().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn no_descriptor_is_inherited_except_the_listener() {
    isolated("inherited_environment::no_descriptor_is_inherited_except_the_listener", || {
        // Without O_CLOEXEC, as many C libraries open their files.
        let file = fs::File::open("/etc/hostname").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        let mut plain = std::process::Command::new("sh");
        let leaked = plain.args(["-c", "ls -l /proc/$$/fd"]).output().unwrap();
        assert!(
            String::from_utf8_lossy(&leaked.stdout).contains("/etc/hostname"),
            "the descriptor is not inheritable"
        );
        run(async {
            let tree = tree();
            for (handover, expected) in [(false, &[0, 1, 2][..]), (true, &[0, 1, 2, 3])] {
                let spec = tree.spec(tree.fake("ignore-term out up\\n eof exit 0").handover(handover));
                let (supervisor, mut events) = Supervisor::start(spec);
                let pid = status(&mut events, |status| status.pid.is_some()).await.pid.unwrap();
                line(&mut events, "up").await;
                let open = descriptors(&pid.to_string());
                let mut numbers: Vec<_> = open.keys().copied().collect();
                numbers.sort_unstable();
                assert_eq!(numbers, expected, "{open:?}");
                let _ = supervisor.stop().await;
            }
        });
    });
}

/// The open descriptors of a process, and the file of each.
fn descriptors(process: &str) -> HashMap<u32, PathBuf> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    open.filter_map(|entry| {
        let entry = entry.unwrap();
        // The descriptor of this listing is closed by now.
        Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
    })
    .collect()
}
