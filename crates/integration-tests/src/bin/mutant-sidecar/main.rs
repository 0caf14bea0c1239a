//! A sidecar that follows all of docs/protocol.md, written by hand on `std`, or breaks one rule of it: that which its argument
//! names. The tests of `pillion check` run it with every name; `none` breaks no rule.
//!
//! `mutant-sidecar child …` is a process that only waits, as a child of the sidecar.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]
#![expect(clippy::print_stderr, reason = "the log of a sidecar goes to stderr")]

mod admission;
mod connection;
mod environment;
mod health;
mod listener;
mod stop;

use std::{
    env,
    io::Write as _,
    process::{Child, Command, Stdio, exit},
    sync::Arc,
    time::{Duration, Instant},
};

use environment::HostEnvironment;
use listener::Listener;
use stop::Stop;

/// The rule that this process breaks.
#[derive(Debug, Clone)]
pub(crate) struct Mutation(String);

impl Mutation {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

/// What the threads of the server share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) mutation: Mutation,
    pub(crate) host: HostEnvironment,
    pub(crate) started: Instant,
    /// The value of `Host`, and of the proof: `127.0.0.1:{port}` or `localhost`.
    pub(crate) authority: String,
    pub(crate) names: Vec<String>,
    pub(crate) stop: Stop,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        loop {
            std::thread::park();
        }
    }
    let mutation = Mutation(arguments.first().cloned().unwrap_or_default());
    if mutation.is("progress-first") {
        // Breaks no rule: progress is no announcement.
        print_line("BACKEND_STATUS:loading\n");
    }
    let host = environment::read(&mutation).unwrap_or_else(|reason| refuse(&mutation, &reason));
    let listener = listener::open(&mutation, &host).unwrap_or_else(|reason| refuse(&mutation, &reason));
    let authority = listener.authority();
    let names = if authority == "localhost" {
        vec![authority.clone()]
    } else {
        vec![authority.clone(), authority.replace("127.0.0.1", "localhost")]
    };
    let server = Arc::new(Server {
        stop: Stop::watch(&mutation),
        host,
        started: Instant::now(),
        authority,
        names,
        mutation: mutation.clone(),
    });
    if mutation.is("token-logged") {
        eprintln!("the token is {}", server.host.token.as_deref().unwrap_or_default());
    }
    let child = child(&server);
    announce(&mutation, &listener);
    server.stop.watch_stdin(&mutation);
    connection::accept_all(&server, listener);
    if mutation.is("unflushed") {
        // What a buffer holds back comes at the exit.
        print_line(&format!("BACKEND_PORT:{}\n", server.authority.rsplit(':').next().unwrap()));
    }
    if let Some(mut child) = child.filter(|_| !mutation.is("leaves-child")) {
        let _ = child.kill();
        let _ = child.wait();
    }
    server.stop.linger(&mutation);
    exit(server.stop.status(&mutation));
}

/// Refuses to start.
fn refuse(mutation: &Mutation, reason: &str) -> ! {
    if !mutation.is("refuse-silently") {
        eprintln!("Error: {reason}");
    }
    exit(i32::from(!mutation.is("refuse-with-0")))
}

pub(crate) fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}

fn announce(mutation: &Mutation, listener: &Listener) {
    let line = match listener.port() {
        Some(port) => format!("BACKEND_PORT:{port}\n"),
        None => "BACKEND_SOCKET:3\n".to_owned(),
    };
    match mutation.0.as_str() {
        "announce-equals" => print_line(&line.replace(':', "=")),
        "announce-after-space" => print_line(&format!(" {line}")),
        "announce-zero-padded" => print_line(&line.replace(':', ":0")),
        "announce-lower-case" => print_line(&line.to_lowercase()),
        "announce-without-newline" => print_line(line.trim_end()),
        "announce-on-stderr" => eprint!("{line}"),
        "announce-nothing" | "unflushed" => {}
        "banner" => print_line(&format!("Server is up!\n{line}")),
        "progress-with-control-characters" => {
            print_line(&format!("BACKEND_STATUS:\x1b[1m42%\x1b[0m\t\n{line}"));
        }
        "progress-too-long" => print_line(&format!("BACKEND_STATUS:{}\n{line}", "x".repeat(257))),
        "announce-twice" => print_line(&format!("{line}{line}")),
        _ => print_line(&line),
    }
    if mutation.is("announces-another-port") {
        print_line("BACKEND_PORT:1\n");
    }
    if mutation.is("announce-early") {
        std::thread::sleep(Duration::from_secs(1));
        listener.listen();
    }
}

/// The child that some mutants start. It does not get the token, because this process has overwritten it.
#[expect(clippy::disallowed_methods, reason = "it is killed before the exit, unless the mutant leaves it")]
fn child(server: &Server) -> Option<Child> {
    let mutation = &server.mutation;
    if mutation.is("starts-itself") {
        // As a packed program without `freeze_support()`, for each worker.
        let mut again = Command::new(env::current_exe().unwrap());
        // The overwritten token is not a token.
        again.env_remove("PILLION_TOKEN");
        again.args(env::args_os().skip(1)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        return Some(again.spawn().unwrap());
    }
    if !["leaves-child", "child-inherits-token", "child-argument"].iter().any(|name| mutation.is(name)) {
        return None;
    }
    let mut child = Command::new(env::current_exe().unwrap());
    child.arg("child").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let token = server.host.token.clone().unwrap_or_default();
    if mutation.is("child-inherits-token") {
        child.env("PILLION_TOKEN", &token);
    }
    if mutation.is("child-argument") {
        child.arg(&token);
    }
    Some(child.spawn().unwrap())
}
