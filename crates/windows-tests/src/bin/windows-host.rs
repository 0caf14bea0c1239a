//! An app with a sidecar, which dies in the way that its arguments say. The test observes what becomes of the sidecar.
//!
//! ```text
//! windows-host PORT MOMENT DEATH PROGRAM ARGUMENT…
//! ```
//!
//! It reports to the test at `PORT` when it reaches the moment of its death (`starting`, `ready` or `stopping`), and dies when
//! the test answers. The grace period has no end, so that only the app's death ends a sidecar that ignores the stop, unless `GRACE_MS`
//! is set. With `OWN_GUARD` the app's program becomes a guard when it is started as one. `STOP_LINE` asks the sidecar by that line on
//! its stdin, `STOP_HTTP` by that request. `FIXED_PORT` declares the port of the sidecar.
//!
//! | death | what the app does |
//! | --- | --- |
//! | `stop` | stops the sidecar and ends |
//! | `drop` | drops the supervisor and the runtime, and ends |
//! | `leak` | leaks both (`mem::forget`) and ends |
//! | `exit`, `abort` | calls `process::exit`, `process::abort` |
//! | `panic` | panics on the main thread |
//! | `park` | waits until it is killed |
//!
//! If `UPDATER` is set, it also starts `PROGRAM` with these arguments, without a supervisor.
#![expect(clippy::unwrap_used, reason = "a helper that cannot do its part must fail visibly")]

use std::{
    env,
    io::{Read, Write},
    mem,
    net::TcpStream,
    process::{self, Command},
    thread,
    time::Duration,
};

use pillion::{Listen, Program, Restart, Spec, State, StopRequest, Supervisor};
use tokio::runtime::Builder;

fn main() {
    if env::var_os("OWN_GUARD").is_some() {
        pillion::guard::run_if_asked();
    }
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let (port, moment, death, program) = (argument().parse().unwrap(), argument(), argument(), argument());
    start_updater(&program);

    let stop = env::var("STOP_LINE").map(|line| StopRequest::default().stdin_line(line)).unwrap_or_default();
    let stop = match env::var("STOP_HTTP") {
        Ok(request) => stop.http(request.parse().unwrap()),
        Err(_) => stop,
    };
    let listen =
        env::var("FIXED_PORT").map_or(Listen::Announced, |port| Listen::Fixed(port.parse().unwrap()));
    let program = Program::new(program).args(arguments).stop(stop).listen(listen);
    let grace =
        env::var("GRACE_MS").map_or(Duration::MAX, |grace| Duration::from_millis(grace.parse().unwrap()));
    let spec = Spec::run("sidecar", program).grace(grace).restart(Restart::Never);
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let supervisor = runtime.block_on(async {
        let (supervisor, mut events) = Supervisor::start(spec);
        // An app that shows events reads them all the time.
        tokio::spawn(async move { while events.next().await.is_some() {} });
        if moment != "starting" {
            supervisor.ready().await.unwrap();
        }
        if moment == "stopping" {
            begin_to_stop(&supervisor).await;
        }
        supervisor
    });

    let mut test = TcpStream::connect(("127.0.0.1", port)).unwrap();
    test.write_all(format!("host {}\n", process::id()).as_bytes()).unwrap();
    let _ = test.read(&mut [0]);
    match death.as_str() {
        "stop" => drop(runtime.block_on(supervisor.stop())),
        "drop" => drop((supervisor, runtime)),
        "leak" => mem::forget((supervisor, runtime)),
        "exit" => process::exit(0),
        "abort" => process::abort(),
        "panic" => panic!("the test asked for it"),
        "park" => loop {
            thread::park();
        },
        _ => panic!("unknown death: {death}"),
    }
}

#[expect(clippy::disallowed_methods, clippy::zombie_processes, reason = "an updater outlives the app")]
fn start_updater(program: &str) {
    if let Ok(arguments) = env::var("UPDATER") {
        Command::new(program).args(arguments.split(' ')).spawn().unwrap();
    }
}

async fn begin_to_stop(supervisor: &Supervisor) {
    let stopped = supervisor.clone();
    tokio::spawn(async move { stopped.stop().await });
    let mut changes = supervisor.watch();
    while changes.next().await.is_some_and(|status| status.state == State::Ready) {}
}
