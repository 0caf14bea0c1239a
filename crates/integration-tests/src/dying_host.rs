//! A program with a sidecar, which dies in the way that its arguments say: the part that `fake-host` and `baseline-host` share.
//!
//! ```text
//! HOST GRACE_MS PORT MOMENT DEATH PROGRAM ARGUMENT…
//! ```
//!
//! The host reports `host` to the test at `PORT` when it reaches the moment of its death, and dies when the test answers.
//! The moments are `starting` (the sidecar's start is under way), `started` (the host knows the sidecar's process), `ready`, and
//! `stopping`. At `stopping` the host waits for a first answer, begins to stop the sidecar, and reports `stopping` when the stop is under
//! way, or already done.
//!
//! | death | what the host does |
//! | --- | --- |
//! | `stop` | stops the sidecar and ends |
//! | `drop` | drops all its handles of the sidecar and ends |
//! | `leak` | leaks these handles (`mem::forget`) and ends |
//! | `exit` | calls `process::exit` |
//! | `time-out` | waits until the sidecar's ready time-out has passed, and ends with a failure |
//! | `abort` | calls `process::abort` (SIGABRT) |
//! | `segv` | writes to memory that is mapped without write permission (SIGSEGV) |
//! | `overflow` | overflows its stack; the standard library turns that into SIGABRT |
//! | `panic-main` | panics on the main thread |
//! | `panic-thread` | panics on another thread; its panic hook ends the process, as in many apps |
//! | `park` | waits until it is killed |

#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    env, hint,
    io::{Read, Write},
    mem,
    net::TcpStream,
    panic, process, ptr, thread,
    time::Duration,
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap_anonymous},
    process::{Resource, Rlimit, setrlimit},
};

/// The environment variable with the sidecar's ready time-out in milliseconds. The default is an hour: only the death
/// `time-out` needs an expiry.
pub const READY_TIMEOUT_VARIABLE: &str = "DYING_HOST_READY_TIMEOUT_MS";

/// The environment variable that lets `fake-host` be its own guard. With the value `only`, it can start no other guard, because the
/// system lets it write no file, not in memory either.
pub const OWN_GUARD_VARIABLE: &str = "FAKE_HOST_OWN_GUARD";

const HOUR: Duration = Duration::from_secs(3600);

/// What each kind of host does with its sidecar in its own way.
pub trait DyingHost: Sized {
    /// Starts the sidecar.
    fn start(settings: SidecarSettings) -> Self;

    /// Waits until the host knows the sidecar's process, or has lost it.
    fn started(&self) {}

    /// Waits until the sidecar is ready. Returns false if the start fails.
    fn ready(&self) -> bool;

    /// Begins to stop the sidecar, and returns when the stop is under way.
    fn begin_to_stop(&self);

    /// Stops the sidecar, and returns when the sidecar has ended.
    fn stop(&self);

    /// The host's last action in each death that it causes itself, like Tauri's `RunEvent::Exit`. Hosts that do not depend
    /// on such an event do nothing.
    fn exit_event(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }
}

/// How to start a sidecar.
#[derive(Debug)]
pub struct SidecarSettings {
    /// Its program.
    pub program: String,
    /// The arguments of the program.
    pub arguments: Vec<String>,
    /// The time that it has to become ready.
    pub ready_timeout: Duration,
    /// The grace period of its stop.
    pub grace: Duration,
}

/// Runs a host according to the command line.
///
/// # Panics
/// If the command line asks for a panic, or is wrong, or if the test is not reachable.
pub fn run_host<Host: DyingHost>() {
    // Many of these deaths would otherwise leave a core file behind.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let grace = Duration::from_millis(argument().parse().unwrap());
    let (port, moment, death, program): (u16, _, _, _) =
        (argument().parse().unwrap(), argument(), argument(), argument());
    let ready_timeout = env::var(READY_TIMEOUT_VARIABLE)
        .map_or(HOUR, |millis| Duration::from_millis(millis.parse().unwrap()));
    let host = Host::start(SidecarSettings { program, arguments: arguments.collect(), ready_timeout, grace });
    match moment.as_str() {
        "starting" => {}
        "started" => host.started(),
        _ => assert!(host.ready()),
    }

    let mut test = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut report = |text: &[u8]| {
        test.write_all(text).unwrap();
        let _ = test.read(&mut [0]);
    };
    report(b"host\n");
    if moment == "stopping" {
        host.begin_to_stop();
        report(b"stopping\n");
    }
    die(&death, host);
}

fn die(death: &str, host: impl DyingHost) {
    let exit_event = host.exit_event();
    match death {
        "stop" => host.stop(),
        "drop" => drop(host),
        "leak" => mem::forget(host),
        "exit" => {
            exit_event();
            process::exit(0);
        }
        "time-out" => {
            assert!(!host.ready());
            exit_event();
            process::exit(1);
        }
        "abort" => process::abort(),
        "segv" => fault(),
        "overflow" => drop(overflow(0)),
        "panic-main" => panic!("the test asked for it"),
        "panic-thread" => {
            panic::set_hook(Box::new(move |_| {
                exit_event();
                process::exit(101);
            }));
            let _ = thread::spawn(|| panic!("the test asked for it")).join();
            return;
        }
        "park" => loop {
            thread::park();
        },
        _ => panic!("unknown death: {death}"),
    }
    exit_event();
}

#[expect(unsafe_code, reason = "safe code cannot cause a memory fault")]
fn fault() {
    // SAFETY: the page is a new mapping without other users. The write violates its protection (`PROT_NONE`, mmap(2)), and
    // the kernel is expected to stop the process for that.
    unsafe {
        let page = mmap_anonymous(ptr::null_mut(), 1, ProtFlags::empty(), MapFlags::PRIVATE).unwrap();
        page.cast::<u8>().write_volatile(1);
    }
}

/// Uses its frame after the recursive call, so that the compiler cannot turn the recursion into a loop.
fn overflow(depth: usize) -> [usize; 64] {
    let mut frame = hint::black_box([depth; 64]);
    if depth < usize::MAX {
        frame[depth % 64] += overflow(depth + 1)[0];
    }
    frame
}
