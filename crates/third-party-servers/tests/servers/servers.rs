//! How each server is installed and used, and how it says that it stopped gracefully.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::app::output;

/// A server that knows nothing of Pillion.
#[derive(Debug)]
pub(crate) struct Server {
    /// The heading of its declaration in docs/servers.md.
    pub(crate) heading: &'static str,
    /// Puts what the declaration names into the resource folder.
    pub(crate) install: fn(&Path),
    /// Does what a client does, and fails if the answer is wrong.
    pub(crate) exchange: fn(&Running),
    pub(crate) stop: Stop,
    /// The files in the data folder that a graceful stop removes, even after the app's death.
    pub(crate) removes: &'static [&'static str],
    pub(crate) refuses_root: bool,
}

/// The server as a client sees it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) port: Option<u16>,
    pub(crate) app_data: PathBuf,
}

/// What a graceful stop looks like.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// A part of a line of output; `None` if it stops without a word. Its exit code alone then shows that it handled the request.
    pub(crate) says: Option<&'static str>,
}

impl Stop {
    /// The exit code of a program that handles SIGTERM and then reports it as a shell does: 128 and its number.
    const SILENT: Self = Self { code: Some(143), signal: None, says: None };

    const fn exits(code: i32, says: &'static str) -> Self {
        Self { code: Some(code), signal: None, says: Some(says) }
    }
}

/// The text in every answer.
const HELLO: &str = "Hello from a stranger";

const HTTP: Server = Server {
    heading: "",
    install: |_| {},
    exchange: answers_http,
    stop: Stop::SILENT,
    removes: &[],
    refuses_root: false,
};

/// The servers, in the order of the page.
pub(crate) const ALL: &[Server] = &[
    Server {
        heading: "Python's http.server",
        install: |resources| write_page(&resources.join("site")),
        stop: Stop::exits(0, "Keyboard interrupt received, exiting."),
        ..HTTP
    },
    Server {
        heading: "uvicorn",
        install: |resources| copy("uvicorn/main.py", &resources.join("api")),
        // It ends itself by the signal, after its shutdown.
        stop: Stop { code: None, signal: Some(15), says: Some("Finished server process") },
        ..HTTP
    },
    Server {
        heading: "gunicorn",
        install: |resources| copy("gunicorn/main.py", &resources.join("api")),
        stop: Stop::exits(0, "Shutting down: Master"),
        ..HTTP
    },
    Server { heading: "Vite preview", install: install_vite, ..HTTP },
    Server { heading: "Next.js", install: install_next, ..HTTP },
    Server { heading: "Go", install: build_go, stop: Stop::exits(0, "stopped"), ..HTTP },
    Server { heading: "Java", install: build_java, stop: Stop::exits(143, "stopped"), ..HTTP },
    Server {
        heading: "Redis",
        exchange: increments_in_redis,
        stop: Stop::exits(0, "Redis is now ready to exit, bye bye..."),
        ..HTTP
    },
    Server {
        heading: "PostgreSQL",
        exchange: |running| queries_postgres("127.0.0.1", running.port.unwrap()),
        stop: Stop::exits(0, "database system is shut down"),
        removes: &["postgres/data/postmaster.pid"],
        refuses_root: true,
        ..HTTP
    },
    Server {
        heading: "PostgreSQL without a port",
        exchange: |running| {
            assert_eq!(running.port, None);
            queries_postgres(running.app_data.join("postgres").to_str().unwrap(), 5432);
        },
        stop: Stop::exits(0, "database system is shut down"),
        removes: &["postgres/data/postmaster.pid", "postgres/.s.PGSQL.5432"],
        refuses_root: true,
        ..HTTP
    },
];

fn answers_http(running: &Running) {
    let port = running.port.unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let is_ok = answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 ");
    assert!(is_ok && answer.contains(HELLO), "{answer}");
}

fn increments_in_redis(running: &Running) {
    let port = running.port.unwrap().to_string();
    let count = output("redis-cli", &["-p", &port, "incr", "visits"], Path::new("/"));
    assert!(count.trim().parse::<u32>().is_ok_and(|count| count > 0), "{count}");
}

fn queries_postgres(host: &str, port: u16) {
    let arguments = ["-X", "-A", "-t", "-h", host, "-p", &port.to_string(), "-U", "postgres"];
    let query = "create table if not exists visits (at timestamptz); insert into visits values (now()); \
                 select count(*) > 0 from visits";
    let answer = output("psql", &[arguments.as_slice(), &["-c", query]].concat(), Path::new("/"));
    assert!(answer.trim_end().ends_with('t'), "{answer}");
}

/// The folder of the servers' sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("servers")
}

fn copy(source: &str, to: &Path) {
    let source = sources().join(source);
    fs::create_dir_all(to).unwrap();
    fs::copy(&source, to.join(source.file_name().unwrap())).unwrap();
}

fn write_page(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("index.html"), format!("<!doctype html><p>{HELLO}</p>")).unwrap();
}

/// A built site, with the Vite of this repository.
fn install_vite(resources: &Path) {
    write_page(&resources.join("web/dist"));
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../node_modules").canonicalize().unwrap();
    symlink(modules, resources.join("web/node_modules")).unwrap();
}

/// What `next build` made.
fn install_next(resources: &Path) {
    let built = env::var("THIRD_PARTY_NEXT")
        .expect("THIRD_PARTY_NEXT names a built app: use `cargo xtask third-party-servers`");
    symlink(built, resources.join("web")).unwrap();
}

fn build_go(resources: &Path) {
    let program = resources.join("api/server");
    output("go", &["build", "-o", program.to_str().unwrap(), "."], &sources().join("go"));
}

fn build_java(resources: &Path) {
    let (source, classes) = (sources().join("java/Server.java"), resources.join("classes"));
    output("javac", &["-d", classes.to_str().unwrap(), source.to_str().unwrap()], resources);
    fs::create_dir_all(resources.join("api")).unwrap();
    let jar = ["--create", "--file", "api/server.jar", "--main-class", "Server", "-C", "classes", "."];
    output("jar", &jar, resources);
}
