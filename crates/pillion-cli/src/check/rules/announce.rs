//! Rule 1: the announcement, stdout, the address, and `PORT`.

use std::{
    fmt::Write as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use pillion::protocol::{self, Announcement, LineFramer, NearMiss};
use pillion_vectors::{Address, Server as _};
use rustix::process::Signal;

use crate::check::{
    catalogue::{ACCEPTS, HEALTH, SELF_START},
    harness::{Ended, Harness, Started, quoted},
    report::Verdict,
    run::{Health, Run, Shown},
};

/// What the first start showed. Without an announcement no other check can look.
#[derive(Debug)]
pub(in crate::check) struct Gate {
    pub(in crate::check) announcement: Verdict,
    pub(in crate::check) flush: Verdict,
    pub(in crate::check) measurements: crate::check::report::Measurements,
    /// The name of a check that is broken so badly that the others could only wait, and the evidence.
    pub(in crate::check) fatal: Option<(&'static str, String)>,
}

/// Starts the program for the first time. An error says that it cannot be started at all.
pub(in crate::check) fn gate(harness: &Harness) -> Result<Gate, String> {
    let gate =
        |announcement, flush| Gate { announcement, flush, measurements: Default::default(), fatal: None };
    let not_announced = || Verdict::NotChecked("the program did not announce itself".to_owned());
    match harness.launch(harness.start()) {
        Err(
            Verdict::NotChecked(why) | Verdict::Broken(why) | Verdict::Kept(why) | Verdict::NotSupported(why),
        ) => Err(why),
        Ok(Started::Ended(ended)) => {
            let mut why = format!("it ended before its announcement: {}", ended.text());
            why += &likely(&ended.stdout, &ended.stderr);
            Ok(gate(Verdict::Broken(why), not_announced()))
        }
        Ok(Started::Silent(run)) => Ok(silent(harness, run, gate)),
        Ok(Started::Announced(run)) => {
            let mut gate = gate(
                Verdict::Kept(format!("{}, {} ms after the start", line(&run), announced_ms(&run))),
                Verdict::Kept("the line came while the program ran".to_owned()),
            );
            gate.measurements.announced_ms = Some(announced_ms(&run));
            let health = run.wait_healthy(harness.settings.private);
            let _ = harness.shared.warms_up.set(matches!(health, Health::Good(1..)));
            match health {
                Health::Good(_) => {
                    gate.measurements.healthy_ms = u64::try_from(run.began.elapsed().as_millis()).ok();
                }
                Health::Bad => {}
                Health::Silent => gate.fatal = Some(silence(harness, &run)),
            }
            let endless = super::life::endless(&run);
            gate.fatal = endless.map(|how| (SELF_START, how)).or(gate.fatal);
            #[cfg(target_os = "linux")]
            if let Ok(processes) = crate::check::processes::of_run(&run) {
                gate.measurements.memory_bytes = crate::check::processes::memory(&processes);
            }
            Ok(gate)
        }
    }
}

/// The check that says why the program, which runs, answers nothing.
fn silence(harness: &Harness, run: &Run) -> (&'static str, String) {
    let limit = humantime::format_duration(harness.settings.timeout);
    if run.connect_once().is_ok() {
        return (HEALTH, format!("GET /health: no answer within {limit}"));
    }
    let open = listening(run);
    let elsewhere = if open.is_empty() { String::new() } else { format!("; the program listens on {open}") };
    (ACCEPTS, format!("{} refused connections for {limit}{elsewhere}", Shown(run.address())))
}

fn announced_ms(run: &Run) -> u64 {
    let announced = run.watch.seen().announced.map(|(_, at)| at.saturating_duration_since(run.began));
    announced.map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

/// The announcement as bytes.
pub(super) fn line(run: &Run) -> String {
    let seen = run.watch.seen();
    let mut lines = seen.stdout.split_inclusive(|byte| *byte == b'\n');
    let line = lines.find(|line| super::life::announced(line).is_some());
    format!("\"{}\"", line.unwrap_or_default().escape_ascii())
}

/// The program runs, and has announced nothing: does a buffer hold the line back?
fn silent(harness: &Harness, run: Run, gate: impl Fn(Verdict, Verdict) -> Gate) -> Gate {
    let waited = humantime::format_duration(harness.settings.timeout).to_string();
    let mut why = format!("no announcement within {waited}");
    let open = listening(&run);
    if !open.is_empty() {
        let _ = write!(why, "; the program listens on {open}");
    }
    let _ = run.signal(Signal::TERM);
    let _ = run.wait_exit(Duration::from_secs(10));
    if run.watch.wait(Duration::from_secs(1), |seen| seen.announced).is_some() {
        why += "; the line came when the program was asked to stop";
        return gate(Verdict::Kept(line(&run)), Verdict::Broken(why));
    }
    let (stdout, stderr) = run.output();
    why += &likely(&stdout, &stderr);
    why += &quoted("stdout", &stdout);
    why += &quoted("stderr", &stderr);
    gate(Verdict::Broken(why), Verdict::NotChecked("the program did not announce itself".to_owned()))
}

/// Why a line of the output is not an announcement.
fn likely(stdout: &[u8], stderr: &[u8]) -> String {
    let mut reasons = Vec::new();
    let mut framer = LineFramer::new(protocol::defaults::LINE_LIMIT);
    let mut read = |line: protocol::Line<'_>| match Announcement::read(&line) {
        Some(Announcement::Malformed(text)) => {
            reasons.push(format!("{text:?} is not an announcement: a port from 1 to 65535 must follow the colon, without a sign, spaces or leading zeros"));
        }
        Some(Announcement::Unfinished(text)) => {
            reasons.push(format!("{text:?} is not an announcement: the newline is missing"));
        }
        _ => reasons.extend(NearMiss::on_stdout(&line).map(|near| near.to_string())),
    };
    framer.feed(stdout, &mut read);
    framer.finish(&mut read);
    let mut framer = LineFramer::new(protocol::defaults::LINE_LIMIT);
    let mut read =
        |line: protocol::Line<'_>| reasons.extend(NearMiss::on_stderr(&line).map(|near| near.to_string()));
    framer.feed(stderr, &mut read);
    framer.finish(&mut read);
    reasons.first().map(|reason| format!("; {reason}")).unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn listening(run: &Run) -> String {
    addresses(run).map(|open| shown(&open)).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn listening(_: &Run) -> String {
    String::new()
}

#[cfg(target_os = "linux")]
pub(super) fn addresses(run: &Run) -> std::io::Result<Vec<std::net::SocketAddr>> {
    let processes = crate::check::processes::of_run(run)?;
    pillion_vectors::listening(processes.iter().map(|process| process.pid))
}

#[cfg(target_os = "linux")]
fn is_loopback(address: &std::net::SocketAddr) -> bool {
    address.ip() == std::net::IpAddr::from([127, 0, 0, 1])
}

#[cfg(target_os = "linux")]
fn shown(open: &[std::net::SocketAddr]) -> String {
    open.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(in crate::check) fn accepts(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = harness.run(harness.start())?;
    Ok(match run.connect_once() {
        Ok(_) => Verdict::Kept(format!("{} accepted a connection at once", Shown(run.address()))),
        Err(error) => Verdict::Broken(format!("{} after the announcement: {error}", Shown(run.address()))),
    })
}

#[cfg(target_os = "linux")]
pub(in crate::check) fn loopback(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = harness.run(harness.start())?;
    let _ = run.get("GET /health", harness.settings.private);
    let mut open = addresses(&run).map_err(|error| {
        Verdict::NotChecked(format!("the sockets of the program are not readable: {error}"))
    })?;
    if open.iter().all(is_loopback) {
        // It may open another one later.
        let later = super::life::opened(harness)?;
        if !later.iter().all(is_loopback) {
            open = later;
        }
    }
    let list = shown(&open);
    Ok(if open.iter().all(is_loopback) {
        Verdict::Kept(format!("listens on {list}"))
    } else {
        Verdict::Broken(format!("listens on {list}"))
    })
}

/// Without the kernel's tables, the other loopback address alone can be tried.
#[cfg(not(target_os = "linux"))]
pub(in crate::check) fn loopback(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = harness.run(harness.start())?;
    let Address::Tcp(port) = *run.address() else {
        return Err(Verdict::NotChecked("the program has no port".to_owned()));
    };
    Ok(match std::net::TcpStream::connect(("::1", port)) {
        Ok(_) => Verdict::Broken(format!("[::1]:{port} accepts connections too")),
        Err(_) => Verdict::NotChecked(format!(
            "[::1]:{port} refuses connections; the other addresses are visible only on Linux"
        )),
    })
}

pub(in crate::check) fn port(harness: &Harness) -> Result<Verdict, Verdict> {
    // Another program can take the port between this drop and the bind. Then the check looks again.
    let mut refusals = Vec::new();
    for _ in 0..3 {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let free = free.map_err(|error| Verdict::NotChecked(error.to_string()))?.port();
        match harness.launch(harness.start().set("PORT", free.to_string()))? {
            Started::Announced(run) if *run.address() == Address::Tcp(free) => {
                return Ok(Verdict::Kept(format!("PORT={free}: {}", line(&run))));
            }
            Started::Announced(run) => return Ok(Verdict::Broken(format!("PORT={free}: {}", line(&run)))),
            Started::Silent(_) => return Ok(Verdict::Broken(format!("PORT={free}: no announcement"))),
            Started::Ended(ended) => refusals.push(format!("PORT={free}: {}", ended.text())),
        }
    }
    Ok(Verdict::NotSupported(refusals.join("\n")))
}

pub(in crate::check) fn port_taken(harness: &Harness) -> Result<Verdict, Verdict> {
    let taken = TcpListener::bind("127.0.0.1:0").map_err(|error| Verdict::NotChecked(error.to_string()))?;
    let port = taken.local_addr().map_err(|error| Verdict::NotChecked(error.to_string()))?.port();
    refuses(harness, &[("PORT", &port.to_string())])
}

pub(in crate::check) fn port_invalid(harness: &Harness) -> Result<Verdict, Verdict> {
    let (mut kept, mut broken) =
        refusals(harness, &["0", "+80", "080", "65536", " 80"].map(|port| ("PORT", port)))?;
    match refused_port(harness)? {
        Some(ended) => kept.push(format!("PORT=\"http\": {}", ended.exit)),
        None => broken.push("PORT=\"http\": it did not refuse to start".to_owned()),
    }
    Ok(Verdict::unless(&broken, kept.join(", ")))
}

/// The end of a start with `PORT=http`.
fn refused_port(harness: &Harness) -> Result<Option<Ended>, Verdict> {
    let start = || {
        let started = harness.launch(harness.start().set("PORT", "http"))?;
        Ok(if let Started::Ended(ended) = started { Some(ended) } else { None })
    };
    harness.shared.refusal.get_or_init(start).clone()
}

/// Whether the program refuses to start with each of these variables.
pub(in crate::check) fn refuses(harness: &Harness, variables: &[(&str, &str)]) -> Result<Verdict, Verdict> {
    let (kept, broken) = refusals(harness, variables)?;
    Ok(Verdict::unless(&broken, kept.join(", ")))
}

/// What happened in starts with each of these variables: refusals, and others.
fn refusals(harness: &Harness, variables: &[(&str, &str)]) -> Result<(Vec<String>, Vec<String>), Verdict> {
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let start = harness.start().set(name, *value);
        match harness.launch(start)? {
            Started::Ended(ended) => kept.push(format!("{name}={value:?}: {}", ended.exit)),
            Started::Announced(run) => broken.push(format!("{name}={value:?}: it started: {}", line(&run))),
            Started::Silent(run) => broken.push(format!(
                "{name}={value:?}: it neither announced itself nor ended{}",
                quoted("stderr", &run.watch.seen().stderr)
            )),
        }
    }
    Ok((kept, broken))
}

/// How the program refuses to start.
pub(in crate::check) fn refusal(harness: &Harness) -> Result<Verdict, Verdict> {
    let Some(ended) = refused_port(harness)? else {
        return Err(Verdict::NotChecked("PORT=http: it did not refuse to start".to_owned()));
    };
    let mut broken = Vec::new();
    if ended.exit.is_success() {
        broken.push(format!("PORT=http: {}", ended.text()));
    }
    if ended.stderr.trim_ascii().is_empty() {
        broken.push(format!("PORT=http: no reason on stderr; {}", ended.text()));
    }
    let mut lines = ended.stdout.split_inclusive(|byte| *byte == b'\n');
    if lines.any(|line| super::life::announced(line).is_some()) {
        broken.push(format!("PORT=http: it announced itself; {}", ended.text()));
    }
    Ok(Verdict::unless(&broken, format!("PORT=http: {}", ended.text())))
}

/// Waits until nothing is left to see, or until the limit.
pub(in crate::check) fn poll_until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
