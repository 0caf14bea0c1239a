//! A sidecar that executes its arguments as steps, in their order.
//!
//! ```text
//! serve-on N      as `serve`, on this port
//! serve           announce a port, and answer every request there with 200; end after `POST /shutdown`
//! pillion-server  run a sidecar on `pillion_server` until it ends; `/large` answers 8 MiB, `/given` the names of the
//!                 variables that are still in the environment, and `/child` when a child with the same stdin has read it to its end
//! squat N         create the pipe that the host has named, with N instances at most, and hold it until death
//! out TEXT        write TEXT as a line to stdout
//! lines N         write N numbered lines to stdout
//! eof             wait for the end of stdin
//! read            read stdin to its end, and write what came as a line to the last of the connections to the test
//! sleep N         wait for N milliseconds
//! memory N        write to N MiB of memory, and keep it
//! work N          use the processor for N milliseconds
//! report PORT NAME  connect to the test at PORT, and write NAME and the process id as a line
//! more TEXT       write TEXT as a line to the last of these connections, which stay open until death
//! pipe            write the name of the pipe that the host has chosen to the last of these connections
//! wait            wait until the test answers on the last of these connections
//! child … ;       run the steps up to the semicolon in a child with the same stdin, and continue
//! child-no-stdin … ;  the same in a child that does not see the end of stdin
//! detached … ;    the same without a console and in a new process group, like a daemon
//! escape          try to start a process outside the job; exit with 0 if the system refuses that
//! park            wait for ever
//! exit N          exit with N
//! ```
#![expect(clippy::disallowed_methods, reason = "its children must have no owner")]
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    env, hint,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use pillion_server::Sidecar;

/// Creation flags: <https://learn.microsoft.com/en-us/windows/win32/procthread/process-creation-flags>.
const DETACHED_PROCESS: u32 = 0x0000_0008;
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
const CREATE_BREAKAWAY_FROM_JOB: u32 = 0x0100_0000;

fn main() {
    let mut reports: Vec<TcpStream> = Vec::new();
    let mut memory: Vec<Vec<u8>> = Vec::new();
    let mut steps = env::args().skip(1);
    while let Some(step) = steps.next() {
        let mut argument = || steps.next().unwrap_or_else(|| panic!("{step} needs an argument"));
        match step.as_str() {
            "serve" => serve(0),
            "serve-on" => serve(argument().parse().unwrap()),
            "pillion-server" => pillion_server(),
            "squat" => squat(argument().parse().unwrap()),
            "out" => line(&mut io::stdout(), &argument()),
            "lines" => lines(argument().parse().unwrap()),
            "eof" => drop(io::stdin().read_to_end(&mut Vec::new())),
            "read" => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).unwrap();
                line(reports.last_mut().unwrap(), &format!("{text:?}"));
            }
            "sleep" => thread::sleep(Duration::from_millis(argument().parse().unwrap())),
            "memory" => memory.push(hint::black_box(vec![1; argument().parse::<usize>().unwrap() << 20])),
            "work" => {
                let end = Instant::now() + Duration::from_millis(argument().parse().unwrap());
                while Instant::now() < end {}
            }
            "report" => {
                let mut test = TcpStream::connect(("127.0.0.1", argument().parse().unwrap())).unwrap();
                line(&mut test, &format!("{} {}", argument(), process::id()));
                reports.push(test);
            }
            "more" => line(reports.last_mut().unwrap(), &argument()),
            "pipe" => line(reports.last_mut().unwrap(), &env::var("PILLION_PIPE").unwrap()),
            "wait" => drop(reports.last_mut().unwrap().read(&mut [0])),
            "child" => drop(command(&mut steps, 0).spawn().unwrap()),
            "child-no-stdin" => drop(command(&mut steps, 0).stdin(Stdio::null()).spawn().unwrap()),
            "detached" => {
                let mut daemon = command(&mut steps, DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
                drop(daemon.stdin(Stdio::null()).spawn().unwrap());
            }
            "escape" => {
                let refused =
                    command(&mut ["park".to_owned()].into_iter(), CREATE_BREAKAWAY_FROM_JOB).spawn();
                process::exit(i32::from(refused.is_ok()));
            }
            "park" => loop {
                thread::park();
            },
            "exit" => process::exit(argument().parse().unwrap()),
            _ => panic!("unknown step: {step}"),
        }
    }
}

/// Ignores errors: in some scenarios the reader is gone.
fn line(stream: &mut impl Write, text: &str) {
    let _ = stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush());
}

fn lines(count: usize) {
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    for number in 0..count {
        let _ = writeln!(out, "{number:099}");
    }
}

/// A command that runs this program with the steps up to the matching semicolon.
fn command(steps: &mut impl Iterator<Item = String>, flags: u32) -> Command {
    let mut depth = 0;
    let theirs = steps.take_while(|step| {
        match step.as_str() {
            "child" | "child-no-stdin" | "detached" => depth += 1,
            ";" => depth -= 1,
            _ => {}
        }
        depth >= 0
    });
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(theirs);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, flags);
    #[cfg(not(windows))]
    assert_eq!(flags, 0, "only Windows has creation flags");
    command
}

fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    line(&mut io::stdout(), &format!("BACKEND_PORT:{}", listener.local_addr().unwrap().port()));
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let request = BufReader::new(connection.try_clone().unwrap());
            let mut lines = request.lines().map_while(Result::ok);
            let stop = lines.next().is_some_and(|line| line.starts_with("POST /shutdown "));
            let _ = lines.find(String::is_empty);
            let _ =
                connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            if stop {
                process::exit(0);
            }
        }
    });
}

fn pillion_server() {
    let router = Router::new()
        .route("/large", get(async || vec![b'x'; 8 << 20]))
        .route("/child", get(child_with_the_same_stdin))
        .route("/given", get(async || env::vars().map(|(name, _)| name + " ").collect::<String>()));
    let sidecar = Sidecar::new("Test").version("1.2.3").grace(Duration::from_millis(200)).serve(router);
    if let Err(error) = tokio::runtime::Runtime::new().unwrap().block_on(sidecar) {
        line(&mut io::stderr(), &error.to_string());
        process::exit(1);
    }
}

async fn child_with_the_same_stdin() -> String {
    let child = command(&mut ["eof", "exit", "9"].map(str::to_owned).into_iter(), 0).spawn();
    let ended = tokio::task::spawn_blocking(|| child.unwrap().wait().unwrap()).await.unwrap();
    ended.code().unwrap().to_string()
}

#[cfg(windows)]
fn squat(instances: usize) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let mut options = tokio::net::windows::named_pipe::ServerOptions::new();
    let pipe = options.max_instances(instances).create(env::var("PILLION_PIPE").unwrap());
    std::mem::forget(pipe.unwrap());
}

#[cfg(not(windows))]
fn squat(_instances: usize) {
    panic!("only Windows has named pipes");
}
