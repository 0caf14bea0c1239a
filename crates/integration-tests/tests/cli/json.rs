//! `--json`: the output format on which programs rely.

use integration_tests::{ReportServer, run};
use serde_json::{Value, json};

use crate::{
    streams::until_ready,
    support::{FinishedPillion, Pillion, tree},
};

fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

fn states(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["event"] == "state").collect()
}

/// Runs a sidecar. It takes the steps of `after` when the test has read that it is ready.
async fn events(options: &str, before: &str, after: &str) -> (Vec<Value>, FinishedPillion) {
    let (tree, reports) = (tree(), ReportServer::new().await);
    let steps = format!("listen ok {before} announce report {} up wait {after}", reports.port());
    let mut pillion = Pillion::run(&tree, &format!("--json {options}"), &steps);
    let mut sidecar = reports.wait_for("up").await;
    let mut text = until_ready(&mut pillion, "--json").await;
    sidecar.resume().await;
    let ended = pillion.end().await;
    text += std::str::from_utf8(&ended.stdout).unwrap();
    (parse(&text), ended)
}

#[test]
fn each_line_is_an_object_with_the_documented_fields() {
    run(async {
        let (events, ended) = events("", "err a\\xffb\\n", "out out\\n exit 0").await;
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "all output is on stdout");
        for event in &events {
            let mut keys: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            match event["event"].as_str().unwrap() {
                "state" => {
                    assert_eq!(
                        keys,
                        ["at", "event", "exit", "pid", "port", "progress", "readiness", "reason", "state"]
                    );
                    // Milliseconds since the epoch; the bound is in November 2023.
                    assert!(event["at"].as_u64().unwrap() > 1_700_000_000_000);
                }
                "output" => assert_eq!(keys, ["event", "line", "stream"]),
                "exit" => {
                    // Not `peakMemory`: it may have ended before the supervisor could look at it.
                    assert!(event.get("peakMemory").is_some(), "{event}");
                    for key in ["run", "pid", "startedAt", "lifetimeMs", "cpuTimeMs", "summary"] {
                        assert!(!event[key].is_null(), "{key} is missing in {event}");
                    }
                    assert_eq!((&event["reason"], &event["exit"]["code"]), (&json!("finished"), &json!(0)));
                }
                other => panic!("{other}"),
            }
        }
        let output: Vec<_> = events.iter().filter(|event| event["event"] == "output").collect();
        let port = states(&events).iter().find_map(|state| state["port"].as_u64()).unwrap();
        for expected in [
            json!({"event": "output", "stream": "stderr", "line": "a\u{fffd}b"}),
            json!({"event": "output", "stream": "stdout", "line": format!("BACKEND_PORT:{port}")}),
            json!({"event": "output", "stream": "stdout", "line": "out"}),
        ] {
            assert!(output.contains(&&expected), "{expected} is not in {output:?}");
        }
    });
}

#[test]
fn the_states_show_the_whole_lifecycle() {
    run(async {
        let (events, _) = events("", "", "exit 0").await;
        let states = states(&events);
        let mut names: Vec<_> = states.iter().map(|state| state["state"].as_str().unwrap()).collect();
        names.dedup();
        assert_eq!(names, ["starting", "ready", "stopping", "stopped"]);
        let ready = states.iter().find(|state| state["state"] == "ready").unwrap();
        assert!(ready["pid"].is_u64() && ready["port"].is_u64() && ready["exit"].is_null(), "{ready}");
        let last = states.last().unwrap();
        assert_eq!(last["exit"], json!({"code": 0, "signal": null}));
        assert_eq!((&last["pid"], &last["port"]), (&ready["pid"], &Value::Null));
        assert_eq!(last["reason"], "exited with code 0 by itself");
    });
}

#[test]
fn a_crash_is_a_failure_with_its_signal() {
    run(async {
        let (events, ended) = events("--name shop", "", "raise 9").await;
        let last = states(&events).pop().unwrap().clone();
        assert_eq!((last["state"].as_str(), ended.status), (Some("failed"), 137));
        assert_eq!(last["exit"], json!({"code": null, "signal": 9}));
        assert_eq!(last["reason"], "shop was killed by SIGKILL while it was in use");
    });
}

#[test]
fn a_failed_start_is_reported_with_its_reason() {
    run(async {
        let tree = tree();
        let ended = Pillion::start(&tree, ["run", "--json", "--", "/no/such/backend"]).end().await;
        let events = parse(std::str::from_utf8(&ended.stdout).unwrap());
        let last = events.last().unwrap();
        assert_eq!(
            (last["state"].as_str(), &last["pid"], &last["exit"]),
            (Some("failed"), &Value::Null, &Value::Null)
        );
        assert_eq!(last["reason"], "backend could not be started: no such file: /no/such/backend");
    });
}

#[test]
fn notices_and_truncated_lines_are_reported() {
    run(async {
        let (events, _) = events("", "out BACKEND_PORT:x\\n noise 10000 out \\n", "exit 0").await;
        assert!(
            events.iter().any(|event| event["event"] == "notice" && event["message"].is_string()),
            "{events:?}"
        );
        let cut = events.iter().find(|event| event["dropped"].is_u64()).unwrap();
        assert_eq!(
            (cut["dropped"].as_u64(), cut["line"].as_str().unwrap().len()),
            (Some(10_000 - 8192), 8192)
        );
    });
}
