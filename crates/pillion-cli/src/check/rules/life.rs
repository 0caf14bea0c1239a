//! Rules 1 and 5, watched for a whole life of the program, with answers, refusals and a stop: what it writes to stdout, which ports it
//! opens, and whether it starts itself again.

use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::Instant;

use pillion::{
    Exit,
    protocol::{self, Announcement, LineFramer, ListenAddr},
};
#[cfg(target_os = "linux")]
use pillion_vectors::{Address, Answer, Server as _};
use rustix::process::Signal;

use super::announce::line;
#[cfg(target_os = "linux")]
use super::announce::poll_until;
use crate::check::{
    harness::{Harness, quoted},
    report::Verdict,
    run::Run,
};

/// How long a program is watched: a worker that runs the server's main file takes about a second to announce itself.
const WATCHED: Duration = Duration::from_secs(4);
/// A line of so many processes, each started by the one before it, has no end. Wrappers and workers of a right server need five: the
/// bootloader of `PyInstaller`, the server, and those of `multiprocessing`.
#[cfg(target_os = "linux")]
const GENERATIONS: usize = 6;
/// No wrappers make a line of so many, even from the beginning.
#[cfg(target_os = "linux")]
const ENDLESS: usize = 2 * GENERATIONS;
/// A line of so many processes may go on to grow.
#[cfg(target_os = "linux")]
const SUSPICIOUS: usize = 2;
/// A line that has not grown for so long has an end.
#[cfg(target_os = "linux")]
const CALM: Duration = Duration::from_millis(1500);
/// A line that grows more slowly is found neither by a host nor by its user.
#[cfg(target_os = "linux")]
const LONGEST: Duration = Duration::from_secs(20);

/// What the program did.
#[derive(Debug, Clone)]
pub(in crate::check) struct Life {
    /// Its announcement as bytes.
    line: String,
    stdout: Vec<u8>,
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux tells the processes of a program")
    )]
    endless: Option<String>,
    /// How it ended before it was asked to stop.
    ended: Option<(Exit, Vec<u8>)>,
    /// Where it listened at the end.
    #[cfg(target_os = "linux")]
    open: Vec<std::net::SocketAddr>,
    /// The other ports of 127.0.0.1 on which it listened, with their answers to a request without the token.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux tells the ports of a process")
    )]
    ports: Vec<(u16, Option<u16>)>,
}

fn life(harness: &Harness) -> Result<Life, Verdict> {
    harness.shared.life.get_or_init(|| live(harness)).clone()
}

fn live(harness: &Harness) -> Result<Life, Verdict> {
    let run = harness.run(harness.start())?;
    let line = line(&run);
    for request in ["GET /health", "GET /", "GET /no-such-path", "POST /"] {
        let _ = run.get(request, harness.settings.private);
        let _ = run.get(request, false);
    }
    let ended = run.wait_exit(WATCHED).map(|(exit, _)| exit);
    let (endless, ports) = (endless(&run), other_ports(&run));
    #[cfg(target_os = "linux")]
    let open = super::announce::addresses(&run).unwrap_or_default();
    let _ = run.signal(Signal::TERM);
    let _ = run.wait_exit(super::stop::LIMIT);
    let (stdout, stderr) = run.output();
    Ok(Life {
        line,
        stdout,
        endless,
        ended: ended.map(|exit| (exit, stderr)),
        #[cfg(target_os = "linux")]
        open,
        ports,
    })
}

/// Where the program listened at the end of the watch.
#[cfg(target_os = "linux")]
pub(super) fn opened(harness: &Harness) -> Result<Vec<std::net::SocketAddr>, Verdict> {
    Ok(life(harness)?.open)
}

/// The address that this line announces.
pub(super) fn announced(line: &[u8]) -> Option<ListenAddr> {
    let mut found = None;
    LineFramer::new(protocol::defaults::LINE_LIMIT).feed(line, |line| {
        if let Some(Announcement::Address(addr)) = Announcement::read(&line) {
            found = Some(addr);
        }
    });
    found
}

/// Whether the line says how far the program is, in the form of the protocol.
fn is_progress(line: &[u8]) -> bool {
    let mut found = false;
    LineFramer::new(protocol::defaults::LINE_LIMIT).feed(line, |line| {
        found |= protocol::progress::read(&line).is_some_and(|sent| {
            std::str::from_utf8(sent)
                .is_ok_and(|sent| sent.len() <= protocol::progress::LIMIT && !sent.contains(char::is_control))
        });
    });
    found
}

/// The lines of stdout without the announcement, and those that announce another address.
fn others(life: &Life) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let mut lines = life.stdout.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
    let Some(first) = lines.iter().position(|line| announced(line).is_some()) else {
        return (lines, Vec::new());
    };
    let address = announced(lines.remove(first));
    let (again, rest) =
        lines.into_iter().partition(|line| announced(line).is_some_and(|other| Some(other) != address));
    (rest, again)
}

pub(in crate::check) fn stdout(harness: &Harness) -> Result<Verdict, Verdict> {
    let life = life(harness)?;
    let (mut others, _) = others(&life);
    let before = others.len();
    others.retain(|line| !is_progress(line));
    Ok(match (others.is_empty(), before) {
        (true, 0) => Verdict::Kept(format!("{} and nothing else", life.line)),
        (true, _) => Verdict::Kept(format!("{}, {before} lines of progress, and nothing else", life.line)),
        (false, _) => {
            Verdict::Broken(format!("beside the announcement{}", quoted("stdout", &others.concat())))
        }
    })
}

pub(in crate::check) fn one_address(harness: &Harness) -> Result<Verdict, Verdict> {
    let life = life(harness)?;
    let (_, again) = others(&life);
    if again.is_empty() {
        return Ok(Verdict::Kept(format!("{}, and no other address", life.line)));
    }
    Ok(Verdict::Broken(format!("{}, then{}", life.line, quoted("stdout", &again.concat()))))
}

pub(in crate::check) fn unasked(harness: &Harness) -> Result<Verdict, Verdict> {
    Ok(match life(harness)?.ended {
        Some((exit, stderr)) => Verdict::Broken(format!(
            "it {exit} within {} s after its start{}",
            WATCHED.as_secs(),
            quoted("stderr", &stderr)
        )),
        None => Verdict::Kept(format!("it ran for {} s, until SIGTERM", WATCHED.as_secs())),
    })
}

#[cfg(target_os = "linux")]
pub(in crate::check) fn self_start(harness: &Harness) -> Result<Verdict, Verdict> {
    Ok(match life(harness)?.endless {
        Some(how) => Verdict::Broken(how),
        None => Verdict::Kept("the program does not start itself without an end".to_owned()),
    })
}

/// Whether the program starts itself, and its copy again, without an end: how.
#[cfg(target_os = "linux")]
pub(super) fn endless(run: &Run) -> Option<String> {
    let generations = || crate::check::processes::generations(run);
    let (first, began) = (generations(), Instant::now());
    let (mut most, mut grew) = (first, began);
    while most >= SUSPICIOUS && grew.elapsed() < CALM && began.elapsed() < LONGEST {
        // Wrappers, such as shells, may be a line from the beginning.
        if most >= ENDLESS || most >= GENERATIONS && most > first + 1 {
            return Some(format!(
                "{most} processes in a line, each started by the one before it, execute the same program"
            ));
        }
        let known = most;
        let _ = poll_until(Duration::from_millis(100), || (generations() > known).then_some(()));
        most = most.max(generations());
        if most > known {
            grew = Instant::now();
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
pub(in crate::check) fn self_start(_: &Harness) -> Result<Verdict, Verdict> {
    Err(Verdict::NotChecked("the processes of the program are visible only on Linux".to_owned()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn endless(_: &Run) -> Option<String> {
    None
}

/// Asks each other port for `/` without the token. The answer is `None` if the port does not speak HTTP.
#[cfg(target_os = "linux")]
fn other_ports(run: &Run) -> Vec<(u16, Option<u16>)> {
    use std::{
        io::{BufReader, Write as _},
        net::TcpStream,
    };
    let open = super::announce::addresses(run).unwrap_or_default();
    let local = open.iter().filter(|it| it.ip() == std::net::IpAddr::from([127, 0, 0, 1]));
    let others = local.map(std::net::SocketAddr::port).filter(|port| *run.address() != Address::Tcp(*port));
    let ask = |port: u16| -> Option<u16> {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).ok()?;
        Answer::read(&mut BufReader::new(connection), true).ok().map(|answer| answer.status)
    };
    others.map(|port| (port, ask(port))).collect()
}

#[cfg(not(target_os = "linux"))]
fn other_ports(_: &Run) -> Vec<(u16, Option<u16>)> {
    Vec::new()
}

#[cfg(target_os = "linux")]
pub(in crate::check) fn ports(harness: &Harness) -> Result<Verdict, Verdict> {
    super::environment::needs_private(harness)?;
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for (port, answer) in life(harness)?.ports {
        match answer {
            Some(status @ 200..300) => broken.push(format!("port {port}: GET / without the token: {status}")),
            Some(status) => kept.push(format!("port {port}: GET / without the token: {status}")),
            None => kept.push(format!("port {port} does not speak HTTP")),
        }
    }
    if kept.is_empty() {
        kept.push("the program listens on no other port".to_owned());
    }
    Ok(Verdict::unless(&broken, kept.join(", ")))
}

#[cfg(not(target_os = "linux"))]
pub(in crate::check) fn ports(_: &Harness) -> Result<Verdict, Verdict> {
    Err(Verdict::NotChecked("the ports of the program are visible only on Linux".to_owned()))
}
