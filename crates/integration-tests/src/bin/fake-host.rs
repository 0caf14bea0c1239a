//! A program with a sidecar that dies as it is told. What becomes of the sidecar is what the test wants to know.
//!
//! ```text
//! fake-host GRACE_MS PORT MOMENT DEATH PROGRAM ARGUMENT…
//! ```
//!
//! It tells the test at `PORT` that it has come to the moment it is to die at, and dies once the test answers: `ready`,
//! `starting` (the start is under way) or `stopping`. For that it waits for one answer more, before it stops the sidecar,
//! and tells once the stop is under way, or even done.
//!
//! | death | |
//! | --- | --- |
//! | `stop` | stops the sidecar, and ends |
//! | `drop` | drops the supervisor and the runtime, and ends |
//! | `leak` | forgets both, and ends |
//! | `exit` | calls `process::exit` |
//! | `abort`, `segv` | dies by that signal, which it raises itself |
//! | `panic-main` | panics on the main thread |
//! | `panic-thread` | panics on another thread, which its panic hook turns into an exit, as many apps do |
//! | `park` | waits to be killed |
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part has to fail loudly")]

use std::{
    env,
    io::{Read, Write},
    mem,
    net::TcpStream,
    panic, process, thread,
    time::Duration,
};

use pillion::{Phase, Spec, Supervisor};
use rustix::process::{Resource, Rlimit, setrlimit};
use signal_hook::{consts::SIGSEGV, low_level::emulate_default_handler};
use tokio::runtime::{Builder, Runtime};

fn main() {
    // Many of these deaths would leave a core file behind.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let grace = Duration::from_millis(argument().parse().unwrap());
    let (port, moment, death, program) = (argument().parse().unwrap(), argument(), argument(), argument());
    let spec = Spec::run("sidecar", program).args(arguments).grace(grace);

    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = runtime.block_on(start(spec, moment != "starting"));
    let mut test = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut agree = |word: &[u8]| {
        test.write_all(word).unwrap();
        let _ = test.read(&mut [0]);
    };
    agree(b"host\n");
    if moment == "stopping" {
        runtime.block_on(begin_to_stop(&supervisor));
        agree(b"stopping\n");
    }
    die(&death, runtime, supervisor);
}

async fn start(spec: Spec, until_ready: bool) -> Supervisor {
    let (supervisor, mut events) = Supervisor::start(spec);
    // As an app does that shows them.
    tokio::spawn(async move { while events.next().await.is_some() {} });
    if until_ready {
        supervisor.ready().await.unwrap();
    }
    supervisor
}

async fn begin_to_stop(supervisor: &Supervisor) {
    let stopped = supervisor.clone();
    tokio::spawn(async move { stopped.stop().await });
    let mut changes = supervisor.watch();
    while changes.next().await.is_some_and(|status| status.state == Phase::Ready) {}
}

fn die(death: &str, runtime: Runtime, supervisor: Supervisor) {
    match death {
        "stop" => drop(runtime.block_on(supervisor.stop())),
        "drop" => drop((supervisor, runtime)),
        "leak" => mem::forget((supervisor, runtime)),
        "exit" => process::exit(0),
        "abort" => process::abort(),
        "segv" => emulate_default_handler(SIGSEGV).unwrap(),
        "panic-main" => panic!("as the test wants it"),
        "panic-thread" => {
            panic::set_hook(Box::new(|_| process::exit(101)));
            let _ = thread::spawn(|| panic!("as the test wants it")).join();
        }
        "park" => loop {
            thread::park();
        },
        _ => panic!("no such death: {death}"),
    }
}
