//! Servers that know nothing of Pillion, unmodified: each declaration of docs/servers.md in a Tauri app, through a crash, a stop and
//! a SIGKILL of the app. `cargo xtask third-party-servers` installs the servers; `cargo xtask test` runs those that cost seconds.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]

mod app;
mod host;
mod page;
mod reaper;
mod servers;

use std::net::{Ipv4Addr, TcpStream};

use app::Installation;
use integration_tests::isolated;
use page::{Declaration, declarations};
use pillion::{Exit, Status};
use rustix::process::{Pid, Signal, kill_process};
use servers::{ALL, Running, Server, Stop};

/// Starts the server in an app, uses it, crashes it, stops it, and kills the app with the server in it.
fn lives_and_leaves_nothing(heading: &str) {
    let server = ALL.iter().find(|server| server.heading == heading).unwrap();
    let declaration = Declaration::under(heading);
    let installation = Installation::new();
    reaper::adopt_orphans();
    (server.install)(&installation.resources());
    reaper::assert_nothing_is_left();

    let mut app = installation.start(&declaration, server.refuses_root);
    let first = app.ready(None);
    is_used(server, &installation, &first);
    crash(&first);
    let second = app.ready(first.pid);
    is_used(server, &installation, &second);
    let (last, lines) = app.quit();
    reaper::assert_nothing_is_left();
    assert_graceful(&server.stop, last.exit.unwrap(), &lines);
    leaves_nothing(server, &installation, &second);

    let mut app = installation.start(&declaration, server.refuses_root);
    let third = app.ready(None);
    is_used(server, &installation, &third);
    app.kill();
    reaper::wait_until_nothing_is_left();
    leaves_nothing(server, &installation, &third);
}

fn is_used(server: &Server, installation: &Installation, status: &Status) {
    let port = status.port.map(Into::into);
    (server.exchange)(&Running { port, app_data: installation.app_data() });
}

fn crash(status: &Status) {
    let leader = Pid::from_raw(status.pid.unwrap().try_into().unwrap()).unwrap();
    kill_process(leader, Signal::KILL).unwrap();
}

/// The server stopped as it does when it is asked in the way that it likes.
fn assert_graceful(stop: &Stop, exit: Exit, lines: &[String]) {
    assert_eq!((exit.code, exit.signal), (stop.code, stop.signal), "{exit}: {lines:#?}");
    if let Some(says) = stop.says {
        assert!(lines.iter().any(|line| line.contains(says)), "{says:?} is missing: {lines:#?}");
    }
}

fn leaves_nothing(server: &Server, installation: &Installation, status: &Status) {
    if let Some(port) = status.port {
        let port: u16 = port.into();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "port {port} is still open");
    }
    for file in server.removes {
        let file = installation.app_data().join(file);
        assert!(!file.exists(), "{} is left", file.display());
    }
}

#[test]
fn each_declaration_of_the_page_is_valid_and_has_a_test() {
    let page: Vec<_> = declarations();
    let headings: Vec<_> = page.iter().map(|declaration| declaration.heading.as_str()).collect();
    let tested: Vec<_> = ALL.iter().map(|server| server.heading).collect();
    assert_eq!(headings, tested);
    for declaration in page {
        let config: Result<tauri_plugin_pillion::Config, _> = serde_json::from_value(declaration.section);
        config.unwrap_or_else(|error| panic!("{}: {error}", declaration.heading));
    }
}

macro_rules! servers {
    ($($name:ident: $heading:literal, $needs:literal;)*) => {$(
        #[test]
        #[ignore = $needs]
        fn $name() {
            isolated(stringify!($name), || lives_and_leaves_nothing($heading));
        }
    )*};
}

servers! {
    http_server: "Python's http.server", "needs Python: cargo xtask third-party-servers";
    uvicorn: "uvicorn", "needs uvicorn: cargo xtask third-party-servers";
    gunicorn: "gunicorn", "needs gunicorn: cargo xtask third-party-servers";
    vite_preview: "Vite preview", "needs Vite: cargo xtask third-party-servers";
    next: "Next.js", "needs Next.js: cargo xtask third-party-servers";
    go: "Go", "needs Go: cargo xtask third-party-servers";
    java: "Java", "needs a JDK: cargo xtask third-party-servers";
    redis: "Redis", "needs Redis: cargo xtask third-party-servers";
    postgres: "PostgreSQL", "needs PostgreSQL: cargo xtask third-party-servers";
    postgres_on_a_socket: "PostgreSQL without a port", "needs PostgreSQL: cargo xtask third-party-servers";
}
