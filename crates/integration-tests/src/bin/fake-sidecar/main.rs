//! A sidecar that executes its arguments as steps, in their order.
//!
//! ```text
//! out TEXT      write TEXT to stdout, and flush; \n \r \\ and \xNN are escapes, \s is a space, \p the port of `listen`
//! err TEXT      the same to stderr
//! log TEXT      write TEXT as a line to both streams; if a reader is gone, exit with 141, as SIGPIPE ends other programs
//! noise N       write N bytes without a newline to stdout
//! redraw N      write the numbers below N to stdout, each in a write of its own, as one line that starts anew by \r
//! lines N       write N numbered lines of 100 bytes to stdout, and each 1000th number to stderr
//! count FILE    write numbered lines for ever, each in a write of its own, and each tenth to stderr. FILE has how many of each are
//!               written: two numbers of 8 bytes
//! progress N    say the progress 0, 1, 2 … below N, each in a line of its own, without a pause
//! env NAME      write NAME=value as a line to stdout, or "NAME is unset"
//! token FROM TO write these digits of PILLION_TOKEN to stdout, without a newline
//! listen KIND   serve every path on a port that the system chooses. KIND is ok, bare (200 without a body), foreign
//!               (the instance of another run), silent (no answer), late (first 503, then ok), sick (first ok, then
//!               503), held (ok; the test holds the answers back by sending `c` on the last connection of `report`, and
//!               releases them by `o`), queue (like held, and serves one connection after the other), /PATH (ok at
//!               this path, else 404), or a status code
//! listen-on NAME KIND  like `listen`, on the port in the environment variable NAME
//! inherit KIND  like `listen`, on the listener from LISTEN_FDS and LISTEN_PID; fails if there is none
//! announce      write BACKEND_PORT:{port} of the last `listen`
//! ignore-term   ignore SIGTERM from now on
//! close         close stdout and stderr
//! term          wait for SIGTERM; continue at once if it has already come
//! read          read a line from stdin, and write it to stdout after `read `
//! once          exit with 3 if SIGTERM has come again since `term`
//! eof           wait for the end of stdin
//! report PORT TEXT  connect to the test at PORT, write TEXT as a line, and hold the connection until death
//! wait          wait until the test answers on the last of these connections, or closes it
//! fork … ;      run the steps up to the semicolon in a child in the same process group, and continue
//! fork-without-env … ;  the same with an empty environment
//! new-group … ; the same in a child that leads its own process group
//! daemon … ;    the same in a daemon: two forks, its own session, stdout held open (setsid(1))
//! pool N PORT   start N workers with an empty environment. Each reports `up` at PORT and finishes its job when its stdin ends
//! drain         end the stdin of the workers, and wait for them; exit with 1 if a worker lost its job
//! exec … ;      replace this process by itself with the steps up to the semicolon or the end (execve(2))
//! subreaper     become the parent of orphaned descendants (PR_SET_CHILD_SUBREAPER, Linux only)
//! storm N       start N children that ignore SIGTERM, each in its own process group
//! hop N         pass the last of these connections to a process in its own session as its stdin, and end. That process does
//!               the same, N times in all, for as long as the test holds the connection. The last one waits for its end
//! memory N      take N MiB of memory, and keep it
//! cpu N         work until this process has used N ms of processor time since its start
//! reap          wait for the children of `fork` and `new-group` that have been started
//! park          wait for ever
//! exit N        exit with status N
//! raise N       die by signal N
//! ```
#![expect(clippy::disallowed_methods, clippy::zombie_processes, reason = "its children must have no owner")]
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{fs::FileExt as _, process::CommandExt},
    },
    process::{self, Child, Command, Stdio},
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use signal_hook::{consts::SIGTERM, iterator::Signals};

/// The steps that are followed by the steps of a child, up to the semicolon.
const CHILD_STEPS: [&str; 5] = ["fork", "fork-without-env", "new-group", "daemon", "exec"];

fn main() {
    let steps: Vec<String> = env::args().skip(1).collect();
    // The handler is installed at the start, so that a SIGTERM before `term` is not lost. The steps of a child do not count.
    let mut in_child = false;
    let ours = |step: &&String| {
        in_child = CHILD_STEPS.contains(&step.as_str()) || in_child && *step != ";";
        !in_child
    };
    let mut signals =
        steps.iter().filter(ours).any(|step| step == "term").then(|| Signals::new([SIGTERM]).unwrap());
    let mut port = 0;
    let mut reports: Vec<TcpStream> = Vec::new();
    let mut workers: Vec<Child> = Vec::new();
    let mut children: Vec<Child> = Vec::new();
    let mut memory: Vec<Vec<u8>> = Vec::new();
    let mut steps = steps.into_iter();
    while let Some(step) = steps.next() {
        let mut argument = || steps.next().unwrap_or_else(|| panic!("{step} needs an argument"));
        match step.as_str() {
            "out" => write(&mut io::stdout(), &unescape(&argument(), port)),
            "err" => write(&mut io::stderr(), &unescape(&argument(), port)),
            "log" => log(&unescape(&argument(), port)),
            "noise" => noise(argument().parse().unwrap()),
            "redraw" => {
                let count: u32 = argument().parse().unwrap();
                (0..count).for_each(|number| write(&mut io::stdout(), format!("\r{number}").as_bytes()));
            }
            "lines" => lines(argument().parse().unwrap()),
            "count" => count(&File::create(argument()).unwrap()),
            "progress" => {
                let count: u32 = argument().parse().unwrap();
                let mut stdout = io::BufWriter::new(io::stdout().lock());
                (0..count).for_each(|number| writeln!(stdout, "BACKEND_STATUS:{number}").unwrap());
                stdout.flush().unwrap();
            }
            "env" => {
                let name = argument();
                let value =
                    env::var(&name).map_or_else(|_| " is unset".to_owned(), |value| format!("={value}"));
                write(&mut io::stdout(), format!("{name}{value}\n").as_bytes());
            }
            "token" => {
                let (from, to): (usize, usize) = (argument().parse().unwrap(), argument().parse().unwrap());
                write(&mut io::stdout(), &env::var("PILLION_TOKEN").unwrap().as_bytes()[from..to]);
            }
            "listen" => port = listen(TcpListener::bind("127.0.0.1:0").unwrap(), &argument(), reports.last()),
            "listen-on" => {
                let number: u16 = env::var(argument()).unwrap().parse().unwrap();
                let listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
                port = listen(listener, &argument(), reports.last());
            }
            "inherit" => port = listen(inherited(), &argument(), reports.last()),
            "announce" => write(&mut io::stdout(), format!("BACKEND_PORT:{port}\n").as_bytes()),
            "ignore-term" => drop(Signals::new([SIGTERM]).unwrap()),
            "close" => {
                let nowhere = File::options().write(true).open("/dev/null").unwrap();
                rustix::stdio::dup2_stdout(&nowhere).unwrap();
                rustix::stdio::dup2_stderr(&nowhere).unwrap();
            }
            "term" => drop(signals.as_mut().unwrap().forever().next()),
            "read" => {
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line).unwrap();
                write(&mut io::stdout(), format!("read {line}").as_bytes());
            }
            "once" if signals.as_mut().unwrap().pending().next().is_some() => process::exit(3),
            "once" => {}
            "eof" => drop(io::stdin().read_to_end(&mut Vec::new())),
            "report" => {
                let mut test = TcpStream::connect(("127.0.0.1", argument().parse().unwrap())).unwrap();
                write(&mut test, format!("{}\n", argument()).as_bytes());
                reports.push(test);
            }
            "wait" => drop(reports.last_mut().unwrap().read(&mut [0])),
            "fork" | "fork-without-env" | "new-group" => {
                let theirs: Vec<_> = steps.by_ref().take_while(|step| step != ";").collect();
                let mut command = Command::new(env::current_exe().unwrap());
                command.args(theirs).stdin(Stdio::null());
                match step.as_str() {
                    "new-group" => drop(command.process_group(0)),
                    "fork-without-env" => drop(command.env_clear()),
                    _ => {}
                }
                children.push(command.spawn().unwrap());
            }
            "reap" => {
                for mut child in children.drain(..) {
                    child.wait().unwrap();
                }
            }
            "memory" => memory.push(vec![1; argument().parse::<usize>().unwrap() << 20]),
            "cpu" => work(argument().parse().unwrap()),
            "exec" => {
                let theirs: Vec<_> = steps.by_ref().take_while(|step| step != ";").collect();
                panic!("{}", Command::new(env::current_exe().unwrap()).args(theirs).exec());
            }
            "pool" => {
                let (count, port): (usize, _) = (argument().parse().unwrap(), argument());
                workers.extend((0..count).map(|_| worker(&port)));
            }
            "drain" => drain(&mut workers),
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
                    command
                        .args(["ignore-term", "park"])
                        .stdin(Stdio::null())
                        .process_group(0)
                        .spawn()
                        .unwrap();
                }
            }
            "hop" => hop(argument().parse().unwrap(), reports.pop()),
            "park" => loop {
                thread::park();
            },
            "exit" => process::exit(argument().parse().unwrap()),
            "raise" => signal_hook::low_level::emulate_default_handler(argument().parse().unwrap()).unwrap(),
            _ => panic!("unknown step: {step}"),
        }
    }
}

/// Uses the processor. The kernel counts in steps of 10 ms (time(7)).
fn work(ms: u64) {
    let used = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum::<u64>()
    };
    while used() < ms {}
}

/// A process that was just seen has ended when it is looked for again. The connection tells the test whether one is left, and
/// the test ends the sequence by closing it.
fn hop(left: u32, report: Option<TcpStream>) {
    let mut test =
        report.unwrap_or_else(|| TcpStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap()));
    rustix::process::setsid().unwrap();
    test.set_nonblocking(left > 0).unwrap();
    if test.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["hop", &(left - 1).to_string()]).stdin(OwnedFd::from(test)).spawn().unwrap();
    }
    process::exit(0);
}

/// Starts a worker. It holds its job until its stdin ends, and SIGTERM kills it.
fn worker(port: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["report", port, "up", "eof", "exit", "0"]).env_clear().stdin(Stdio::piped());
    command.spawn().unwrap()
}

fn drain(workers: &mut Vec<Child>) {
    for worker in &mut *workers {
        drop(worker.stdin.take());
    }
    if !workers.drain(..).all(|mut worker| worker.wait().unwrap().success()) {
        process::exit(1);
    }
}

fn log(text: &[u8]) {
    let line = [text, b"\n"].concat();
    let written = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
    if written.and_then(|()| io::stderr().write_all(&line)).is_err() {
        process::exit(141);
    }
}

/// Ignores errors: in many scenarios the reader is gone.
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

fn count(file: &File) -> ! {
    let mut written = [0_u64; 2];
    let pad = "x".repeat(60);
    for number in 1_u64.. {
        let stream = usize::from(number % 10 == 0);
        let line = format!("{} {pad}\n", written[stream]);
        let whole = match stream {
            0 => rustix::io::write(rustix::stdio::stdout(), line.as_bytes()),
            _ => rustix::io::write(rustix::stdio::stderr(), line.as_bytes()),
        };
        assert_eq!(whole, Ok(line.len()));
        written[stream] += 1;
        file.write_all_at(&written[stream].to_ne_bytes(), 8 * stream as u64).unwrap();
    }
    unreachable!("there are many numbers")
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

/// The listener that the supervisor handed over (`sd_listen_fds(3)`).
fn inherited() -> TcpListener {
    assert_eq!(env::var("LISTEN_PID").unwrap(), process::id().to_string());
    assert_eq!(env::var("LISTEN_FDNAMES").unwrap(), "http");
    let listener = listenfd::ListenFd::from_env().take_tcp_listener(0).unwrap();
    listener.expect("LISTEN_FDS names a listener")
}

/// Serves in the background. Connections are accepted when this returns the port.
fn listen(listener: TcpListener, kind: &str, test: Option<&TcpStream>) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let kind = kind.to_owned();
    let gate: &'static (Mutex<bool>, Condvar) = Box::leak(Box::default());
    if matches!(kind.as_str(), "held" | "queue") {
        let test = test.expect("a report comes before the server that the test controls").try_clone();
        thread::spawn(move || control(gate, test.unwrap()));
    }
    let (unanswered, connections) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (kind, connection) = (kind.clone(), connection.unwrap());
            match kind.as_str() {
                "silent" => unanswered.send(connection).unwrap(),
                "queue" => answer(connection, &kind, gate),
                _ => drop(thread::spawn(move || answer(connection, &kind, gate))),
            }
        }
    });
    // Holds the unanswered connections open.
    thread::spawn(move || connections.into_iter().collect::<Vec<TcpStream>>());
    port
}

/// Closes and opens the gate in front of the answers, as the test says.
fn control((closed, changed): &(Mutex<bool>, Condvar), test: TcpStream) {
    for byte in BufReader::new(test).bytes().map_while(Result::ok) {
        *closed.lock().unwrap() = byte == b'c';
        changed.notify_all();
    }
}

fn answer(mut connection: TcpStream, kind: &str, gate: &(Mutex<bool>, Condvar)) {
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
        "held" | "queue" => {
            let (closed, changed) = gate;
            drop(changed.wait_while(closed.lock().unwrap(), |closed| *closed).unwrap());
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
