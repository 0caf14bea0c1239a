use std::time::Duration;

use pillion::{Listen, ReadyCheck, Spec};
use serde_json::{Value, json};

use super::*;
use crate::Variables;

fn sidecar(fields: &Value) -> SidecarConfig {
    serde_json::from_value(fields.clone()).unwrap()
}

/// The declared program of this name, in a release.
fn program(sidecar: &SidecarConfig, name: &str) -> pillion::Program {
    let variables = Variables::default();
    let program = pillion::Program::new(name).args(sidecar.args(name, &variables).unwrap());
    sidecar.configure(program, name, &variables).unwrap()
}

fn parse(json: &str) -> Result<Config, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn an_empty_declaration_is_enough() {
    let config = parse(r#"{ "sidecars": { "backend": {} } }"#).unwrap();
    assert!(config.sidecars["backend"].refine(Spec::run("backend", "backend"), "backend").is_ok());
}

#[test]
fn a_sidecar_is_private_by_default() {
    assert!(sidecar(&json!({})).private);
    assert!(!sidecar(&json!({ "private": false })).private);
}

#[test]
fn an_error_names_an_unknown_field() {
    let error = parse(r#"{ "sidecars": { "backend": { "readyTimeout": 5 } } }"#).unwrap_err();
    assert!(error.contains("unknown field `readyTimeout`") && error.contains("`readyTimeoutMs`"), "{error}");
}

#[test]
fn an_error_names_the_field_that_was_meant() {
    let error = |section: &str| parse(section).unwrap_err();
    let of_sidecar =
        |field: &str| error(&format!(r#"{{ "sidecars": {{ "backend": {{ "{field}": 5 }} }} }}"#));
    for (wrong, meant) in [
        ("readyTimeout", "readyTimeoutMs"),
        ("readyy", "ready"),
        ("depends_on", "dependsOn"),
        ("Program", "program"),
    ] {
        let error = of_sidecar(wrong);
        let expected =
            format!("unknown field `{wrong}` (did you mean `{meant}`?), expected one of `program`, ");
        assert!(error.contains(&expected), "{error}");
    }
    let dev = error(r#"{ "sidecars": { "backend": { "dev": { "kommand": ["node"] } } } }"#);
    let expected = "backend.dev.kommand: unknown field `kommand` (did you mean `command`?), expected one of";
    assert!(dev.contains(expected), "{dev}");
    let strange = of_sidecar("xyz");
    assert!(strange.contains("unknown field `xyz`, expected one of"), "{strange}");
}

#[test]
fn other_programs_may_look_by_default() {
    let control =
        |field: &str| parse(&format!(r#"{{ "sidecars": {{}} {field} }}"#)).map(|config| config.control);
    assert_eq!(control("").unwrap(), ControlConfig::Read);
    assert_eq!(control(r#", "control": "full""#).unwrap(), ControlConfig::Full);
    assert_eq!(control(r#", "control": false"#).unwrap(), ControlConfig::Off);
    for wrong in [r#", "control": true"#, r#", "control": "write""#, r#", "control": null"#] {
        let error = control(wrong).unwrap_err();
        assert!(
            error.contains("plugins.pillion.control: ") && error.contains("\"read\", \"full\", or false"),
            "{error}"
        );
    }
}

#[test]
fn the_terminal_shows_sidecars_in_debug_builds_by_default() {
    let terminal =
        |field: &str| parse(&format!(r#"{{ "sidecars": {{}} {field} }}"#)).map(|config| config.terminal);
    assert_eq!(terminal("").unwrap(), TerminalConfig::Auto);
    assert_eq!(terminal(r#", "terminal": "auto""#).unwrap(), TerminalConfig::Auto);
    assert_eq!(terminal(r#", "terminal": true"#).unwrap(), TerminalConfig::On);
    assert_eq!(terminal(r#", "terminal": false"#).unwrap(), TerminalConfig::Off);
    let error = terminal(r#", "terminal": "off""#).unwrap_err();
    assert!(
        error.contains("plugins.pillion.terminal: ") && error.contains("\"auto\", true, or false"),
        "{error}"
    );
}

#[test]
fn the_output_is_kept_as_files_by_default() {
    let files = |fields: &Value| sidecar(fields).log_files("logs");
    assert_eq!(files(&json!({})), Some(LogFiles::new("logs")));
    assert_eq!(files(&json!({ "log": false })), None);
    assert_eq!(files(&json!({ "log": true })), Some(LogFiles::new("logs")));
    let (bytes, number) = (NonZeroU64::new(70_000).unwrap(), std::num::NonZeroU32::new(3).unwrap());
    assert_eq!(
        files(&json!({ "log": { "maxBytes": 70_000, "maxFiles": 3 } })),
        Some(LogFiles::new("logs").max_bytes(bytes).max_files(number))
    );
}

#[test]
fn an_error_names_the_path_of_the_field() {
    let error = |field: &str| parse(&format!(r#"{{ "sidecars": {{ "db": {{ {field} }} }} }}"#)).unwrap_err();
    for (field, path, hint) in [
        (r#""restart": "sometimes""#, "restart", "`never`, `onFailure`"),
        (r#""maxMemory": "512""#, "maxMemory", "512 MiB"),
        (r#""maxMemory": 512"#, "maxMemory", "string"),
        (r#""restartLimit": { "limit": -1 }"#, "restartLimit.limit", "u32"),
        (r#""restartLimit": { "window": 5 }"#, "restartLimit.window", "`windowMs`"),
        (r#""liveness": true"#, "liveness", "false, or an object"),
        (r#""log": "all""#, "log", "true, false, or an object with maxBytes"),
        (r#""log": { "maxFiles": 0 }"#, "log.maxFiles", "nonzero"),
        (r#""log": { "folder": "x" }"#, "log.folder", "`maxBytes`"),
        (r#""liveness": { "intervalMs": 0 }"#, "liveness.intervalMs", "nonzero"),
        (r#""private": "no""#, "private", "a boolean"),
        (r#""port": "free""#, "port", "\"assigned\", or a port from 1 to 65535"),
        (r#""port": 0"#, "port", "a port from 1"),
        (r#""port": 65536"#, "port", "to 65535"),
        (r#""ready": "yes""#, "ready", "\"started\", or an object with http"),
        (r#""ready": {}"#, "ready", "give one of `http`, `line` and `exec`"),
        (r#""ready": { "http": "/", "exec": ["true"] }"#, "ready", "give one of"),
        (r#""ready": { "line": "(" }"#, "ready", "\"(\" is not a regular expression: "),
        (r#""ready": { "line": "up", "status": 200 }"#, "ready", "`status` belongs to `http`"),
        (r#""ready": { "http": "/", "stream": "stdout" }"#, "ready", "`stream` belongs to `line`"),
        (r#""ready": { "line": "up", "stream": "stdin" }"#, "ready.stream", "`stdout` or `stderr`"),
        (r#""ready": { "tcp": true }"#, "ready.tcp", "`http`, `status`"),
        (r#""readyTimeoutMaxMs": 0"#, "readyTimeoutMaxMs", "nonzero"),
        (r#""sha256": 1"#, "sha256", "a string"),
        (r#""expects": 1"#, "expects", "a string"),
        (r#""portEnv": 1"#, "portEnv", "a string"),
        (r#""loginShellEnv": 1"#, "loginShellEnv", "a boolean"),
        (r#""handover": "yes""#, "handover", "a boolean"),
        (r#""transport": "pipe""#, "transport", "`tcp` or `local`"),
        (r#""portFallback": "no""#, "portFallback", "a boolean"),
        (r#""dependsOn": "cache""#, "dependsOn", "a sequence"),
        (r#""onDemand": "yes""#, "onDemand", "a boolean"),
        (r#""idleStopMs": 0"#, "idleStopMs", "nonzero"),
        (r#""restartWith": "db""#, "restartWith", "a sequence"),
        (r#""optional": 1"#, "optional", "a boolean"),
        (r#""resource": 1"#, "resource", "a string"),
        (r#""command": ["db"]"#, "command", "a string"),
        (r#""cwd": 1"#, "cwd", "a string"),
        (r#""dev": "node""#, "dev", "DevConfig"),
        (r#""dev": { "watch": [] }"#, "dev", "`command`"),
        (r#""dev": { "command": "node main.js" }"#, "dev.command", "a sequence"),
        (r#""dev": { "command": [], "onChange": "reload" }"#, "dev.onChange", "`swap` or `restart`"),
        (r#""inherit": { "only": [] }"#, "inherit.only", "`allow` or `deny`"),
        (r#""inherit": { "deny": "A" }"#, "inherit.deny", "a sequence"),
    ] {
        let error = error(field);
        assert!(error.contains(&format!("plugins.pillion.sidecars.db.{path}: ")), "{error}");
        assert!(error.contains(hint), "{error}");
    }
}

#[test]
fn omitted_fields_have_the_supervisors_defaults() {
    let none = sidecar(&json!({}));
    assert_eq!(pillion::RestartLimit::from(none.restart_limit), pillion::RestartLimit::default());
    assert_eq!(Option::from(none.liveness), Some(pillion::Liveness::default()));

    let some = sidecar(
        &json!({ "restartLimit": { "windowMs": 1500 }, "liveness": { "tolerance": 9, "busyLimitMs": 7000 } }),
    );
    let (window, interval) = (Duration::from_millis(1500), pillion::Liveness::default().interval);
    assert_eq!(pillion::RestartLimit::from(some.restart_limit), pillion::RestartLimit::new(4, window));
    let liveness = pillion::Liveness::new(interval, 9).with_busy_limit(Duration::from_secs(7));
    assert_eq!(Option::from(some.liveness), Some(liveness));
    assert_eq!(Option::<pillion::Liveness>::from(sidecar(&json!({ "liveness": false })).liveness), None);
}

#[test]
fn a_time_without_a_use_needs_a_start_on_demand() {
    let refine = |fields: &Value| sidecar(fields).refine(Spec::run("api", "api"), "api");
    assert!(refine(&json!({ "onDemand": true, "idleStopMs": 60_000 })).is_ok());
    let error = refine(&json!({ "idleStopMs": 60_000 })).unwrap_err().to_string();
    assert!(error.contains("plugins.pillion.sidecars.api: `idleStopMs` needs \"onDemand\": true"), "{error}");
}

#[test]
fn inherit_takes_names_and_prefixes_only() {
    let refine = |inherit: &str| {
        let sidecar: SidecarConfig = serde_json::from_str(&format!(r#"{{ "inherit": {inherit} }}"#)).unwrap();
        sidecar.refine(Spec::run("api", "api"), "api").map(|_| sidecar.inherit)
    };
    assert_eq!(refine(r#"{ "allow": ["LANG", "LC_*"] }"#), Ok(Inherit::only(["LANG", "LC_*"])));
    assert_eq!(refine(r#"{ "deny": ["AWS_*"] }"#), Ok(Inherit::default().except(["AWS_*"])));
    assert_eq!(refine(r#"{ "allow": ["*"] }"#), Ok(Inherit::all()));
    for name in ["", "*_PROXY", "A=1", "A**"] {
        let error = refine(&format!(r#"{{ "deny": ["{name}"] }}"#)).unwrap_err().to_string();
        assert!(error.contains("plugins.pillion.sidecars.api.inherit"), "{error}");
    }
}

#[test]
fn a_declared_port_reaches_the_program() {
    for (port, listen) in [
        (json!("announced"), Listen::Announced),
        (json!("assigned"), Listen::Assigned),
        (json!(8080), Listen::Fixed(8080.try_into().unwrap())),
    ] {
        assert_eq!(Listen::from(sidecar(&json!({ "port": port })).port), listen);
    }
    assert_eq!(Listen::from(sidecar(&json!({})).port), Listen::Announced);
}

#[test]
fn a_ready_check_reaches_the_specification() {
    for (ready, check) in [
        (json!("health"), "Health"),
        (json!("tcp"), "Tcp"),
        (json!("notify"), "Notify"),
        (json!("started"), "Started"),
        (json!({ "http": "/up" }), r#"Http(HttpCheck { path: "/up", status: None })"#),
        (json!({ "http": "/up", "status": 204 }), r#"Http(HttpCheck { path: "/up", status: Some(204) })"#),
        (
            json!({ "exec": ["pg_isready", "-q"] }),
            r#"Exec(ExecCheck { program: "pg_isready", args: ["-q"] })"#,
        ),
    ] {
        assert_eq!(format!("{:?}", sidecar(&json!({ "ready": ready })).ready.0), check);
    }
    let line = sidecar(&json!({ "ready": { "line": "up (?<port>[0-9]+)", "stream": "stderr" } }));
    let ReadyCheck::Line(line) = line.ready.0 else { panic!("{line:?}") };
    assert_eq!(line.to_string(), "a line on stderr that matches \"up (?<port>[0-9]+)\"");
}

#[test]
fn an_argument_may_tell_the_port() {
    let sidecar = sidecar(&json!({ "port": "assigned", "args": ["--port=${port}", "$$"] }));
    let program = program(&sidecar, "api");
    let spec = Spec::run("api", program);
    sidecar.refine(spec, "api").unwrap();
}

#[test]
fn a_worker_without_a_port_may_stay_private() {
    for ready in [json!("started"), json!({ "line": "up" }), json!({ "exec": ["true"] })] {
        let sidecar = sidecar(&json!({ "ready": ready }));
        let program = program(&sidecar, "worker");
        let spec = Spec::run("worker", program);
        sidecar.refine(spec, "worker").unwrap();
    }
}

#[test]
fn a_health_path_beside_another_check_is_an_error() {
    let sidecar = sidecar(&json!({ "ready": "started", "health": "/up" }));
    let error = sidecar.refine(Spec::run("api", "api"), "api").unwrap_err().to_string();
    assert!(error.contains("sidecars.api.health is \"/up\", but `ready` has another check"), "{error}");
}

#[test]
fn an_error_names_a_declaration_that_contradicts_itself() {
    for (declared, hint) in [
        (json!({ "port": "assigned" }), "`portEnv`"),
        (json!({ "port": 8080, "handover": true }), "`handover`"),
        (json!({ "portEnv": "PORT" }), "set `port`"),
        (json!({ "expects": "one" }), "`expects` is \"one\""),
        (json!({ "expects": "1", "private": false, "ready": "tcp" }), "`ready` is \"tcp\""),
        (json!({ "watchdogMs": 1000 }), "`watchdogMs` needs \"ready\": \"notify\""),
        (json!({ "readyTimeoutMaxMs": 1000 }), "`readyTimeoutMaxMs` is 1000, less than `readyTimeoutMs`"),
        (json!({ "args": ["${port}"] }), "`args`: ${port} is not known"),
        (json!({ "env": { "A": "${sidecar.db.url}" } }), "add \"db\" to `dependsOn`, which has none"),
        (json!({ "dependsOn": ["db"], "args": ["${x}"] }), "known: ${sidecar.db.port}, ${sidecar.db.url}"),
        (
            json!({ "ready": { "exec": ["a", "${x"] } }),
            "`ready`: the placeholder \"${x\" has no closing brace",
        ),
        (json!({ "ready": "tcp" }), "Set `private` to false"),
        (json!({ "ready": "started", "port": 8080 }), "Set `private` to false"),
        (json!({ "ready": { "line": "(?<port>[0-9]+)" } }), "Set `private` to false"),
        (json!({ "ready": { "http": "x" }, "private": false }), "a path that starts with a slash"),
        (json!({ "ready": { "exec": [] } }), "has no program"),
        (json!({ "ready": "tcp", "private": false, "handover": true }), "`handover`"),
    ] {
        let sidecar = sidecar(&declared);
        let program = program(&sidecar, "api");
        let spec = Spec::run("api", program);
        let error = sidecar.refine(spec, "api").unwrap_err().to_string();
        assert!(error.starts_with("plugins.pillion.sidecars.api: ") && error.contains(hint), "{error}");
    }
}

#[test]
fn a_health_path_must_start_with_a_slash() {
    assert!(sidecar(&json!({ "health": "health" })).refine(Spec::run("api", "api"), "api").is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn a_sidecar_without_port_fallback_must_take_its_socket() {
    let start = |declared: &Value| {
        let program = pillion::Program::new("sh").args(["-c", "echo BACKEND_PORT:1; read line"]);
        let program = sidecar(declared).configure(program, "api", &Variables::default()).unwrap();
        pillion::Supervisor::start(Spec::run("api", program).restart(Restart::Never))
    };
    let local = json!({ "private": false, "transport": "local", "portFallback": false });
    let (supervisor, _events) = start(&local);
    let failure = supervisor.ready().await.unwrap_err();
    assert!(failure.message.contains("`portFallback`"), "{failure}");
    let _ = supervisor.stop().await;
    // With it, the supervisor uses the port: nothing listens there, and the sidecar does not become ready.
    let (supervisor, _events) = start(&json!({ "transport": "local", "portFallback": true }));
    let mut watch = supervisor.watch();
    while watch.next().await.unwrap().port.is_none_or(|port| port.get() != 1) {}
    let _ = supervisor.stop().await;
}
