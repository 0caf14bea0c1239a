use std::net::{Ipv4Addr, TcpListener};
#[cfg(unix)]
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

#[cfg(unix)]
use pillion::Endpoint;
use pillion::Supervisor;
use serde_json::{Value, json};
#[cfg(unix)]
use tokio::time;

use super::*;
#[cfg(unix)]
use crate::desktop::Sidecars;

/// Resolves declarations as an app in this folder does. With `project`, the app is in development.
fn resolver(folder: &Path, project: Option<&Path>) -> DeclarationResolver {
    DeclarationResolver {
        folder: folder.to_owned(),
        variables: Variables::default(),
        development: Development::new(project),
        origins: vec!["tauri://localhost".to_owned()],
    }
}

fn declared(fields: &Value) -> SidecarConfig {
    serde_json::from_value(fields.clone()).unwrap()
}

fn program(folder: &Path, fields: &Value) -> Result<PathBuf, String> {
    let resolver = resolver(folder, None);
    resolver.program("api", &declared(fields)).map_err(|error| error.to_string())
}

#[test]
fn only_the_apps_own_origins_are_admitted() {
    let mut config = Config::default();
    config.build.dev_url = Some("http://127.0.0.1:1420/app".parse().unwrap());
    let own = if cfg!(windows) { "http://tauri.localhost" } else { "tauri://localhost" };
    assert_eq!(origins(&config, false), [own]);
    assert_eq!(origins(&config, true), [own, "http://127.0.0.1:1420"]);
}

#[test]
fn a_program_is_beside_the_app_in_the_resources_or_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let beside = |name: &str| Ok(folder.join(format!("{name}{EXE_SUFFIX}")));
    assert_eq!(program(folder, &json!({})), beside("api"));
    assert_eq!(program(folder, &json!({ "program": "api.v2" })), beside("api.v2"));
    assert_eq!(program(folder, &json!({ "resource": "server/main" })), Ok(folder.join("server/main")));
    assert_eq!(program(folder, &json!({ "command": "python3" })), Ok("python3".into()));
    assert_eq!(program(folder, &json!({ "command": "/opt/db" })), Ok("/opt/db".into()));
}

#[test]
fn a_sidecar_beside_the_app_has_the_path_that_programs_expect() {
    let own = std::env::current_exe().unwrap();
    assert_eq!(folder_of_app().unwrap(), dunce::canonicalize(own.parent().unwrap()).unwrap());
}

#[test]
fn a_program_that_windows_locks_is_not_built_beside_the_running_one() {
    for command in ["cargo", "cargo.exe", "dotnet"] {
        assert!(locks_its_program(command, true) && !locks_its_program(command, false), "{command}");
    }
    // Go builds to another file each time.
    assert!(!locks_its_program("go", true));
}

/// npm makes both files: the first one is a script for other systems.
#[cfg(windows)]
#[test]
fn a_path_of_a_command_may_leave_out_the_suffix_of_a_batch_file() {
    let project = tempfile::tempdir().unwrap();
    let tools = project.path().join("node_modules").join(".bin");
    std::fs::create_dir_all(&tools).unwrap();
    for name in ["vite", "vite.cmd"] {
        std::fs::write(tools.join(name), "#!/bin/sh\n").unwrap();
    }
    let found = |command: &str| found(command.into(), project.path());
    let name = found("node_modules/.bin/vite").file_name().unwrap().to_ascii_lowercase();
    assert_eq!(name, "vite.cmd");
    assert_eq!(found("node_modules/.bin/absent"), tools.join("absent"));
}

#[test]
fn an_exec_check_may_name_the_folders_of_the_app() {
    let folder = tempfile::tempdir().unwrap();
    let resolve = |argument: &str| {
        let fields = json!({ "private": false, "ready": { "exec": ["check", argument] } });
        resolver(folder.path(), None).resolve("api", &declared(&fields)).map(|it| format!("{:?}", it.spec))
    };
    assert!(resolve("a$$b").unwrap().contains(r#"args: ["a$$b"]"#), "the supervisor replaces it");
    let error = resolve("$NOWHERE/db").unwrap_err().to_string();
    assert!(error.contains("api.ready.exec contains $NOWHERE"), "{error}");
}

#[tokio::test]
async fn a_server_of_the_developer_replaces_a_sidecar_that_code_adds() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = NonZeroU16::new(server.local_addr().unwrap().port()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut resolver = resolver(folder.path(), None);
    resolver.development = Development::new(None).with_server("worker", port);
    let spec = Spec::run("worker", "/nowhere/worker").ready_check(pillion::ReadyCheck::Tcp);
    let (supervisor, _events) = Supervisor::start(resolver.resolve_spec(spec).spec);
    assert_eq!(supervisor.ready().await.unwrap().port, Some(port));
    let other = resolver.resolve_spec(Spec::run("other", "/nowhere/other")).spec;
    let (supervisor, _events) = Supervisor::start(other);
    assert_eq!(supervisor.ready().await.unwrap_err().kind, pillion::FailureKind::Spawn);
}

#[test]
fn a_digest_is_checked_in_a_release_and_has_its_form_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let digest = "0123456789abcdef".repeat(4);
    let resolve = |project: Option<&Path>, fields: Value| {
        let resolver = resolver(folder.path(), project);
        resolver
            .resolve("api", &declared(&fields))
            .map(|it| format!("{:?}", it.spec))
            .map_err(|error| error.to_string())
    };
    let has = |spec: &str| spec.contains(&format!("sha256: Some({digest:?})"));
    assert!(has(&resolve(None, json!({ "sha256": digest })).unwrap()));
    assert!(!has(&resolve(Some(folder.path()), json!({ "sha256": digest })).unwrap()), "each build differs");
    for (fields, words) in [
        (json!({ "sha256": "abc" }), "sidecars.api: `sha256` is \"abc\""),
        (json!({ "sha256": digest, "command": "python3" }), "\"python3\" is looked up in PATH"),
    ] {
        for project in [None, Some(folder.path())] {
            let error = resolve(project, fields.clone()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn in_development_a_watchdog_stops_no_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let resolve = |project: Option<&Path>| {
        let fields = json!({ "private": false, "ready": "notify", "watchdogMs": 1000, "liveness": false });
        format!("{:?}", resolver(folder.path(), project).resolve("api", &declared(&fields)).unwrap().spec)
    };
    assert!(resolve(None).contains("liveness: None, watchdog: Some(1s)"));
    let spec = resolve(Some(folder.path()));
    assert!(spec.contains("watchdog: Some(1s)") && spec.contains("restart: false"), "{spec}");
}

#[test]
fn an_invalid_program_is_an_error_that_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    for (fields, words) in [
        (json!({ "program": "binaries/backend" }), ["api.program is", "file name"]),
        (json!({ "program": ".." }), ["api.program is", "file name"]),
        (json!({ "program": "" }), ["api.program is", "file name"]),
        (json!({ "program": r"bin\backend" }), ["api.program is", "file name"]),
        (json!({ "resource": "../server" }), ["api.resource is", "resource folder"]),
        (json!({ "resource": "/server" }), ["api.resource is", "resource folder"]),
        (json!({ "resource": "" }), ["api.resource is", "resource folder"]),
        (json!({ "command": "" }), ["api.command is empty", "program and its arguments"]),
        (json!({ "command": "$NOWHERE/db" }), ["api.command contains $NOWHERE", "not a variable"]),
        (json!({ "program": "a", "command": "b" }), ["\"program\" and \"command\"", "keep the one"]),
    ] {
        let error = program(folder.path(), &fields).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn an_invalid_command_of_development_is_an_error_that_names_its_field() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = resolver(folder.path(), Some(folder.path()));
    for (dev, words) in [
        (json!({ "command": [] }), "api.dev.command is empty"),
        (json!({ "command": ["node", "$NOWHERE"] }), "api.dev.command contains $NOWHERE"),
        (json!({ "command": ["node"], "cwd": "$NOWHERE" }), "api.dev.cwd contains $NOWHERE"),
        (json!({ "command": ["node"], "env": { "A": "$NOWHERE" } }), "api.dev.env.A contains $NOWHERE"),
        (json!({ "command": ["node"], "watch": ["src/***"] }), "api.dev.watch contains \"src/***\""),
    ] {
        let error = resolver.resolve("api", &declared(&json!({ "dev": dev }))).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[cfg(unix)]
/// A server in Python that answers every request with its version and its variable `MODE`.
const SERVER: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("VERSION " + os.environ["MODE"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"BACKEND_PORT:{server.server_port}", flush=True)
server.serve_forever()
"#;

#[cfg(unix)]
/// The answer of this version of the server.
fn answer(endpoint: &Endpoint) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint.port.unwrap().get())).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n").next().unwrap().to_owned()
}

#[cfg(unix)]
/// Waits until another process is ready.
async fn replaced(sidecar: &Supervisor, old: &Endpoint) -> Endpoint {
    let mut watch = sidecar.watch();
    let another = async {
        loop {
            if let Ok(endpoint) = sidecar.ready().await
                && endpoint.pid != old.pid
            {
                return endpoint;
            }
            watch.next().await.unwrap();
        }
    };
    time::timeout(Duration::from_secs(120), another).await.unwrap()
}

#[cfg(unix)]
fn start(resolver: &DeclarationResolver, fields: &Value) -> Sidecars {
    Sidecars::start(vec![resolver.resolve("api", &declared(fields)).unwrap()], Value::Null, None, false)
        .unwrap()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn in_development_a_change_of_a_source_swaps_the_command_and_a_broken_one_does_not() {
    let project = tempfile::tempdir().unwrap();
    // A dollar sign in a path is not a variable.
    let source = project.path().join("back${port}$end");
    fs::create_dir(&source).unwrap();
    let write = |text: &str| fs::write(source.join("main.py"), text).unwrap();
    write(&SERVER.replace("VERSION", "one"));
    let fields = json!({
        "private": false,
        "env": { "MODE": "overridden" },
        "dev": { "command": ["python3", "main.py"], "cwd": "back${port}$$end", "env": { "MODE": "$$HOME" }, "watch": ["*.py"] },
    });
    let sidecars = start(&resolver(Path::new("/nowhere"), Some(project.path())), &fields);
    let sidecar = sidecars.sidecar("api").unwrap();
    let first = sidecar.ready().await.unwrap();
    assert_eq!(answer(&first), "one $HOME");

    // The broken version reports its start over a connection, and fails.
    let tried = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tried.local_addr().unwrap().port();
    write(&format!("import socket, sys\nsocket.create_connection(('127.0.0.1', {port}))\nsys.exit(3)\n"));
    tokio::task::spawn_blocking(move || tried.accept().unwrap()).await.unwrap();
    assert_eq!(answer(&first), "one $HOME");

    write(&SERVER.replace("VERSION", "two"));
    let second = replaced(sidecar, &first).await;
    assert_eq!(answer(&second), "two $HOME");
    sidecars.close();
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn in_development_a_change_can_restart_the_command() {
    let project = tempfile::tempdir().unwrap();
    let source = project.path().join("main.py");
    fs::write(&source, SERVER.replace("VERSION", "one")).unwrap();
    let fields = json!({
        "private": false,
        "env": { "MODE": "dev" },
        "dev": { "command": ["python3", "main.py"], "watch": ["*.py"], "onChange": "restart" },
    });
    let sidecars = start(&resolver(Path::new("/nowhere"), Some(project.path())), &fields);
    let sidecar = sidecars.sidecar("api").unwrap();
    let first = sidecar.ready().await.unwrap();
    fs::write(&source, SERVER.replace("VERSION", "twice")).unwrap();
    let second = replaced(sidecar, &first).await;
    assert_eq!(answer(&second), "twice dev");
    sidecars.close();
}

#[test]
fn a_sidecar_with_a_fixed_port_is_restarted_after_a_change_and_others_are_swapped() {
    let fixed = declared(&json!({ "port": 8080 }));
    assert_eq!(on_change(&fixed, OnChange::Swap), OnChange::Restart);
    let other = declared(&json!({ "port": "assigned", "portEnv": "PORT" }));
    assert_eq!(on_change(&other, OnChange::Swap), OnChange::Swap);
    assert_eq!(on_change(&other, OnChange::Restart), OnChange::Restart);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn outside_development_the_command_of_the_system_runs_and_not_that_of_development() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("main.py"), SERVER.replace("VERSION", "one")).unwrap();
    let fields = json!({
        "private": false,
        "command": "python3",
        "args": ["main.py"],
        "cwd": folder.path(),
        "env": { "MODE": "release" },
        "dev": { "command": ["false"] },
    });
    let sidecars = start(&resolver(folder.path(), None), &fields);
    let ready = sidecars.sidecar("api").unwrap().ready().await.unwrap();
    assert_eq!(answer(&ready), "one release");
    sidecars.close();
}
