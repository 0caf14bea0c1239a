//! A program with a sidecar that dies as it is told: what `fake-host` and `rival-host` have in common.
//!
//! ```text
//! HOST GRACE_MS PORT MOMENT DEATH PROGRAM ARGUMENT…
//! ```
//!
//! It tells the test at `PORT` that it has come to the moment it is to die at, and dies once the test answers: `ready`,
//! `starting` (the start is under way) or `stopping`. For that it waits for one answer more, before it stops the sidecar,
//! and tells once the stop is under way, or even done.
//!
//! | death | |
//! | --- | --- |
//! | `stop` | stops the sidecar, and ends |
//! | `drop` | drops all that it has of the sidecar, and ends |
//! | `leak` | forgets it, and ends |
//! | `exit` | calls `process::exit` |
//! | `time-out` | waits for the sidecar until the time for that is over, and ends as one that failed |
//! | `abort` | calls `process::abort` (SIGABRT) |
//! | `segv` | writes to memory that nobody may write to (SIGSEGV) |
//! | `overflow` | overflows its stack, which the standard library turns into SIGABRT |
//! | `panic-main` | panics on the main thread |
//! | `panic-thread` | panics on another thread, which its panic hook turns into an exit, as many apps do |
//! | `park` | waits to be killed |

#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part has to fail loudly")]

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

/// What a host does with its sidecar, in its own way.
pub trait Doomed: Sized {
    /// Starts the sidecar.
    fn start(order: Order) -> Self;

    /// Waits until the sidecar is ready; false if it will not be.
    fn ready(&self) -> bool;

    /// Begins to stop the sidecar, and returns when that is under way.
    fn begin_to_stop(&self);

    /// Stops the sidecar, and returns when that is done.
    fn stop(&self);

    /// What the app does last wherever it ends by its own will, as Tauri's `RunEvent::Exit` is the last that a Tauri app
    /// hears. Nothing, unless it depends on that.
    fn exit_event(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }
}

/// A sidecar to start.
#[derive(Debug)]
pub struct Order {
    /// Its program.
    pub program: String,
    /// What follows on its command line.
    pub arguments: Vec<String>,
    /// How long it has to become ready.
    pub ready_timeout: Duration,
    /// How long it has to end by itself when it is asked to.
    pub grace: Duration,
}

/// Plays the whole part, as the command line wants it.
///
/// # Panics
/// Where that is the death, and where the command line or the test makes no sense.
pub fn perform<Host: Doomed>() {
    // Many of these deaths would leave a core file behind.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let grace = Duration::from_millis(argument().parse().unwrap());
    let (port, moment, death, program): (u16, _, _, _) =
        (argument().parse().unwrap(), argument(), argument(), argument());
    // Longer than a sidecar takes to come to the moment at which it is timed.
    let ready_timeout = Duration::from_secs(if death == "time-out" { 2 } else { 60 });
    let host = Host::start(Order { program, arguments: arguments.collect(), ready_timeout, grace });
    assert!(moment == "starting" || host.ready());

    let mut test = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut agree = |word: &[u8]| {
        test.write_all(word).unwrap();
        let _ = test.read(&mut [0]);
    };
    agree(b"host\n");
    if moment == "stopping" {
        host.begin_to_stop();
        agree(b"stopping\n");
    }
    die(&death, host);
}

fn die(death: &str, host: impl Doomed) {
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
        "panic-main" => panic!("as the test wants it"),
        "panic-thread" => {
            panic::set_hook(Box::new(move |_| {
                exit_event();
                process::exit(101);
            }));
            let _ = thread::spawn(|| panic!("as the test wants it")).join();
            return;
        }
        "park" => loop {
            thread::park();
        },
        _ => panic!("no such death: {death}"),
    }
    exit_event();
}

#[expect(unsafe_code, reason = "a fault is what safe code cannot have")]
fn fault() {
    // SAFETY: the page is a new mapping, and nothing else knows of it. That nobody may write to it (`PROT_NONE`, mmap(2))
    // is what the kernel is asked to notice.
    unsafe {
        let page = mmap_anonymous(ptr::null_mut(), 1, ProtFlags::empty(), MapFlags::PRIVATE).unwrap();
        page.cast::<u8>().write_volatile(1);
    }
}

/// Needs memory after the call, so that it is no loop.
fn overflow(depth: usize) -> [usize; 64] {
    let mut frame = hint::black_box([depth; 64]);
    if depth < usize::MAX {
        frame[depth % 64] += overflow(depth + 1)[0];
    }
    frame
}
