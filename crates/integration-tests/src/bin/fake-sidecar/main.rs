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

mod output;
mod processes;
mod server;
mod steps;

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead as _, Read as _},
    net::{TcpListener, TcpStream},
    process, thread,
};

use signal_hook::{consts::SIGTERM, iterator::Signals};

use crate::{
    output::write,
    processes::Processes,
    server::{inherited, listen},
    steps::Steps,
};

fn main() {
    let mut steps = Steps::from_arguments();
    // The handler is installed at the start, so that a SIGTERM before `term` is not lost.
    let mut signals = steps.own().any(|step| step == "term").then(|| Signals::new([SIGTERM]).unwrap());
    let mut port = 0;
    let mut reports: Vec<TcpStream> = Vec::new();
    let mut processes = Processes::default();
    let mut memory: Vec<Vec<u8>> = Vec::new();
    while let Some(step) = steps.next() {
        match step.as_str() {
            "listen" => {
                port = listen(TcpListener::bind("127.0.0.1:0").unwrap(), &steps.text(), reports.last());
            }
            "listen-on" => {
                let number: u16 = env::var(steps.text()).unwrap().parse().unwrap();
                let listener = TcpListener::bind(("127.0.0.1", number)).unwrap();
                port = listen(listener, &steps.text(), reports.last());
            }
            "inherit" => port = listen(inherited(), &steps.text(), reports.last()),
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
                let mut test = TcpStream::connect(("127.0.0.1", steps.number())).unwrap();
                write(&mut test, format!("{}\n", steps.text()).as_bytes());
                reports.push(test);
            }
            "wait" => drop(reports.last_mut().unwrap().read(&mut [0])),
            "memory" => memory.push(vec![1; steps.number::<usize>() << 20]),
            "cpu" => work(steps.number()),
            "hop" => processes::hop(steps.number(), reports.pop()),
            "park" => loop {
                thread::park();
            },
            "exit" => process::exit(steps.number()),
            "raise" => signal_hook::low_level::emulate_default_handler(steps.number()).unwrap(),
            step => {
                let known = processes.execute(step, &mut steps) || output::execute(step, &mut steps, port);
                assert!(known, "unknown step: {step}");
            }
        }
    }
}

/// Uses the processor. The kernel counts in steps of 10 ms (time(7)).
fn work(ms: u64) {
    let used = || {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum::<u64>()
    };
    while used() < ms {}
}
