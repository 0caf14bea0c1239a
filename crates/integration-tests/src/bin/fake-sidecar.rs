//! A sidecar that does what its arguments say, one after the other.
//!
//! ```text
//! out TEXT      write TEXT to stdout, and flush; \n \r \\ and \xNN are escapes, \s is a space, \p the port of listen
//! err TEXT      the same to stderr
//! noise N       write N bytes without a newline to stdout
//! lines N       write N numbered lines of 100 bytes to stdout, a few of them to stderr
//! env NAME      write NAME=value as a line to stdout, or "NAME is unset"
//! listen KIND   serve every path on an OS-chosen port: ok, bare (200 without a body), foreign (another instance's
//!               nonce), silent (never answers), late (503 first, then ok), sick (ok first, then 503), slow (ok at
//!               once first, then after 600 ms), queue (ok, one connection after the other, 20 ms each), /PATH (ok there, 404 elsewhere), or a status code
//! inherit KIND  the same as listen on the listener that was handed over by LISTEN_FDS and LISTEN_PID, and fail without
//! announce      write BACKEND_PORT:{port} of the last listen
//! deaf          ignore SIGTERM from here on
//! close         close stdout and stderr
//! term          wait for SIGTERM, or go on at once if it came already
//! eof           wait for the end of stdin
//! tell PORT TEXT connect to the test at that port, write TEXT as a line, and hold the connection until death
//! hear          wait until the test answers on the last of these connections, or ends it
//! fork … ;      do what stands before the semicolon in a child of the same group, and go on
//! new-group … ; the same in a child that leads a group of its own
//! daemon … ;    the same in a daemon: two forks, a session of its own, stdout kept open (setsid(1))
//! subreaper     adopt the daemons from here on (PR_SET_CHILD_SUBREAPER, Linux only)
//! storm N       start N deaf children, one after the other, each in a group of its own
//! hop N         hand on to a process in a session of its own and end, N times over, for as long as the test holds the last
//!               of these connections: each is handed it as its stdin; the last one waits for its end
//! park          wait for ever
//! exit N        exit with N
//! raise N       die by signal N
//! ```
#![expect(
    clippy::disallowed_methods,
    clippy::zombie_processes,
    reason = "its children are meant to be owned by nobody"
)]
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part has to fail loudly")]

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt,
    },
    process::{self, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use signal_hook::{consts::SIGTERM, iterator::Signals};

fn main() {
    let steps: Vec<String> = env::args().skip(1).collect();
    // From the start on, so that a SIGTERM that comes before `term` is not lost. What stands in a fork is not ours.
    let mut forked = false;
    let ours = |step: &&String| {
        forked = matches!(step.as_str(), "fork" | "new-group" | "daemon") || forked && *step != ";";
        !forked
    };
    let mut signals =
        steps.iter().filter(ours).any(|step| step == "term").then(|| Signals::new([SIGTERM]).unwrap());
    let mut port = 0;
    let mut told: Vec<TcpStream> = Vec::new();
    let mut steps = steps.into_iter();
    while let Some(step) = steps.next() {
        let mut argument = || steps.next().unwrap_or_else(|| panic!("{step} needs an argument"));
        match step.as_str() {
            "out" => write(&mut io::stdout(), &unescape(&argument(), port)),
            "err" => write(&mut io::stderr(), &unescape(&argument(), port)),
            "noise" => noise(argument().parse().unwrap()),
            "lines" => lines(argument().parse().unwrap()),
            "env" => {
                let name = argument();
                let value =
                    env::var(&name).map_or_else(|_| " is unset".to_owned(), |value| format!("={value}"));
                write(&mut io::stdout(), format!("{name}{value}\n").as_bytes());
            }
            "listen" => port = listen(TcpListener::bind("127.0.0.1:0").unwrap(), &argument()),
            "inherit" => port = listen(inherited(), &argument()),
            "announce" => write(&mut io::stdout(), format!("BACKEND_PORT:{port}\n").as_bytes()),
            "deaf" => drop(Signals::new([SIGTERM]).unwrap()),
            "close" => {
                let nowhere = File::options().write(true).open("/dev/null").unwrap();
                rustix::stdio::dup2_stdout(&nowhere).unwrap();
                rustix::stdio::dup2_stderr(&nowhere).unwrap();
            }
            "term" => drop(signals.as_mut().unwrap().forever().next()),
            "eof" => drop(io::stdin().read_to_end(&mut Vec::new())),
            "tell" => {
                let mut test = TcpStream::connect(("127.0.0.1", argument().parse().unwrap())).unwrap();
                write(&mut test, format!("{}\n", argument()).as_bytes());
                told.push(test);
            }
            "hear" => drop(told.last_mut().unwrap().read(&mut [0])),
            "fork" | "new-group" => {
                let theirs: Vec<_> = steps.by_ref().take_while(|step| step != ";").collect();
                let mut command = Command::new(env::current_exe().unwrap());
                command.args(theirs).stdin(Stdio::null());
                if step == "new-group" {
                    command.process_group(0);
                }
                command.spawn().unwrap();
            }
            "daemon" => {
                let theirs: Vec<_> = steps.by_ref().take_while(|step| step != ";").collect();
                let mut command = Command::new("setsid");
                command.arg("--fork").arg(env::current_exe().unwrap()).args(theirs).stdin(Stdio::null());
                assert!(command.status().unwrap().success());
            }
            #[cfg(target_os = "linux")]
            "subreaper" => rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap(),
            "storm" => {
                for _ in 0..argument().parse().unwrap() {
                    let mut command = Command::new(env::current_exe().unwrap());
                    command.args(["deaf", "park"]).stdin(Stdio::null()).process_group(0).spawn().unwrap();
                }
            }
            "hop" => hop(argument().parse().unwrap(), told.pop()),
            "park" => loop {
                thread::park();
            },
            "exit" => process::exit(argument().parse().unwrap()),
            "raise" => signal_hook::low_level::emulate_default_handler(argument().parse().unwrap()).unwrap(),
            _ => panic!("no such step: {step}"),
        }
    }
}

/// Nobody is who was seen just now. The test knows all the same whether anybody is left, and may end it at any time.
fn hop(left: u32, told: Option<TcpStream>) {
    let mut test = told.unwrap_or_else(|| TcpStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap()));
    rustix::process::setsid().unwrap();
    test.set_nonblocking(left > 0).unwrap();
    if test.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["hop", &(left - 1).to_string()]).stdin(OwnedFd::from(test)).spawn().unwrap();
    }
    process::exit(0);
}

/// Writes what it can: a reader that has gone away is part of many scenarios.
fn write(stream: &mut impl Write, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

fn noise(mut count: usize) {
    let chunk = vec![b'x'; 64 * 1024];
    while count > 0 {
        let part = count.min(chunk.len());
        write(&mut io::stdout(), &chunk[..part]);
        count -= part;
    }
}

fn lines(count: usize) {
    let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout());
    let mut line = [b'0'; 100];
    line[99] = b'\n';
    for number in 0..count {
        let _ = out.write_all(&line);
        if number % 1000 == 0 {
            write(&mut io::stderr(), format!("err {number}\n").as_bytes());
        }
        // Counting in place is several times as fast as formatting.
        for digit in line[..99].iter_mut().rev() {
            *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
            if *digit != b'0' {
                break;
            }
        }
    }
}

fn unescape(text: &str, port: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => match rest.next().unwrap() {
                b'n' => bytes.push(b'\n'),
                b'r' => bytes.push(b'\r'),
                b's' => bytes.push(b' '),
                b'p' => bytes.extend_from_slice(port.to_string().as_bytes()),
                b'x' => {
                    let hex = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                }
                other => bytes.push(other),
            },
            byte => bytes.push(byte),
        }
    }
    bytes
}

/// The listener that was handed over (`sd_listen_fds(3)`).
fn inherited() -> TcpListener {
    assert_eq!(env::var("LISTEN_PID").unwrap(), process::id().to_string());
    assert_eq!(env::var("LISTEN_FDNAMES").unwrap(), "http");
    let listener = listenfd::ListenFd::from_env().take_tcp_listener(0).unwrap();
    listener.expect("LISTEN_FDS says that there is one")
}

/// Serves in the background, and returns the port once connections are accepted.
fn listen(listener: TcpListener, kind: &str) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let kind = kind.to_owned();
    let (kept, silent) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            if kind == "silent" {
                kept.send(connection.unwrap()).unwrap();
            } else if kind == "queue" {
                thread::sleep(Duration::from_millis(20));
                answer(connection.unwrap(), "ok");
            } else {
                let kind = kind.clone();
                thread::spawn(move || answer(connection.unwrap(), &kind));
            }
        }
    });
    // Keeps the silent connections open.
    thread::spawn(move || silent.into_iter().collect::<Vec<TcpStream>>());
    port
}

fn answer(mut connection: TcpStream, kind: &str) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let mut request = BufReader::new(connection.try_clone().unwrap());
    let (mut path, mut line) = (String::new(), String::new());
    while request.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        if path.is_empty() {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        line.clear();
    }
    let instance = env::var("PILLION_INSTANCE").unwrap_or_default();
    let ok = || (200, format!(r#"{{"status":"ok","version":"1.2.3","instance":"{instance}"}}"#));
    let (status, body) = match kind {
        "ok" => ok(),
        "late" if ASKED.swap(true, Ordering::Relaxed) => ok(),
        "late" => (503, String::new()),
        "sick" if ASKED.swap(true, Ordering::Relaxed) => (503, String::new()),
        "sick" => ok(),
        "slow" => {
            if ASKED.swap(true, Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(600));
            }
            ok()
        }
        "bare" => (200, String::new()),
        "foreign" => (200, r#"{"status":"ok","instance":"00000000000000000000000000000000"}"#.to_owned()),
        wanted if wanted.starts_with('/') => {
            if wanted == path {
                ok()
            } else {
                (404, String::new())
            }
        }
        status => (status.parse().unwrap(), String::new()),
    };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    write(&mut connection, (head + &body).as_bytes());
}
