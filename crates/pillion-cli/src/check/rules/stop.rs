//! Rule 3: what asks the program to stop, and how it stops.

mod in_flight;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use pillion::{Exit, Spec};
use rustix::process::Signal;

pub(in crate::check) use self::in_flight::{deadline, drain, drain_after_lifeline, no_new_connections};
use self::in_flight::{in_flight, serves, stuck};
use super::announce::poll_until;
use crate::check::{
    harness::{Harness, Stdin, quoted},
    report::Verdict,
    run::Run,
};

/// How long a check waits for the end: twice the grace period, so that the verdict does not depend on a quick machine.
pub(in crate::check) const LIMIT: Duration = Duration::from_secs(2 * Spec::DEFAULT_GRACE.as_secs());
/// How often a slow stop is tried.
const TRIES: usize = 3;
/// A program must answer this many health requests after what must not stop it. On a slow machine they take longer, as the stop of
/// the program would.
const ANSWERS: u32 = 100;
/// The pause after each of them, at least.
const PAUSE: Duration = Duration::from_millis(10);
/// A program that ends sooner, with a request in flight, does not wait for requests.
const DRAINS: Duration = Duration::from_secs(2);

/// Stops that several checks look at.
#[derive(Debug, Default)]
pub(in crate::check) struct Stops {
    term: OnceLock<Result<Stop, Verdict>>,
    int: OnceLock<Result<Stop, Verdict>>,
    lifeline: OnceLock<Result<Stop, Verdict>>,
    stuck: OnceLock<Result<Option<Duration>, Verdict>>,
}

/// How an idle program ended.
#[derive(Debug, Clone, Copy)]
struct Stop {
    /// The exit and the time that it took, or `None` after [`LIMIT`].
    end: Option<(Exit, Duration)>,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Signal(Signal),
    Lifeline(Stdin),
}

impl Request {
    fn name(self) -> &'static str {
        match self {
            Self::Signal(Signal::INT) => "SIGINT",
            Self::Signal(_) => "SIGTERM",
            Self::Lifeline(Stdin::Socket) => "the end of stdin, a socket",
            Self::Lifeline(_) => "the end of stdin, a pipe",
        }
    }
}

/// Asks an idle program to stop, and waits: the shortest time of up to three, because the machine may be slow.
fn stop(harness: &Harness, request: Request) -> Result<Stop, Verdict> {
    let mut shortest: Option<(Exit, Duration)> = None;
    for _ in 0..TRIES {
        let start = match request {
            Request::Signal(_) => harness.start(),
            Request::Lifeline(stdin) => harness.start().stdin(stdin),
        };
        let mut run = harness.run(start)?;
        let _ = run.get("GET /health", harness.settings.private);
        let asked = Instant::now();
        ask(&mut run, request);
        if let Some((exit, at)) = run.wait_exit(LIMIT) {
            let took = at.saturating_duration_since(asked);
            if shortest.is_none_or(|(_, other)| took < other) {
                shortest = Some((exit, took));
            }
            if took < Spec::DEFAULT_GRACE {
                break;
            }
        }
        if run.watch.seen().holder_gone {
            return Err(Verdict::Broken(format!(
                "{}: the parent of the program ended: the program signals it, as it would signal the host",
                request.name()
            )));
        }
    }
    Ok(Stop { end: shortest })
}

fn ask(run: &mut Run, request: Request) {
    match request {
        Request::Signal(signal) => drop(run.signal(signal)),
        Request::Lifeline(_) => run.lifeline = None,
    }
}

fn term(harness: &Harness) -> Result<Stop, Verdict> {
    harness.shared.stops.term.get_or_init(|| stop(harness, Request::Signal(Signal::TERM))).clone()
}

fn ends(stop: Stop, request: Request) -> Verdict {
    match stop.end {
        Some((exit, took)) if took > Spec::DEFAULT_GRACE => Verdict::Broken(format!(
            "{}: it {exit} after {} ms, the shortest time of {TRIES} tries; a host kills it after {} s",
            request.name(),
            took.as_millis(),
            Spec::DEFAULT_GRACE.as_secs()
        )),
        Some((exit, took)) => {
            Verdict::Kept(format!("{}: it {exit} after {} ms", request.name(), took.as_millis()))
        }
        None => Verdict::Broken(format!("{}: it still runs after {} s", request.name(), LIMIT.as_secs())),
    }
}

pub(in crate::check) fn sigterm(harness: &Harness) -> Result<Verdict, Verdict> {
    Ok(ends(term(harness)?, Request::Signal(Signal::TERM)))
}

pub(in crate::check) fn sigint(harness: &Harness) -> Result<Verdict, Verdict> {
    let request = Request::Signal(Signal::INT);
    Ok(ends(harness.shared.stops.int.get_or_init(|| stop(harness, request)).clone()?, request))
}

pub(in crate::check) fn lifeline(harness: &Harness) -> Result<Verdict, Verdict> {
    let request = Request::Lifeline(Stdin::Pipe);
    Ok(ends(harness.shared.stops.lifeline.get_or_init(|| stop(harness, request)).clone()?, request))
}

pub(in crate::check) fn lifeline_socket(harness: &Harness) -> Result<Verdict, Verdict> {
    let request = Request::Lifeline(Stdin::Socket);
    Ok(ends(stop(harness, request)?, request))
}

/// A program whose stdin is /dev/null goes on.
pub(in crate::check) fn no_lifeline(harness: &Harness) -> Result<Verdict, Verdict> {
    let run = harness.run(harness.start().stdin(Stdin::DevNull))?;
    Ok(goes_on(harness, &run, "stdin is /dev/null"))
}

fn goes_on(harness: &Harness, run: &Run, when: &str) -> Verdict {
    let ended = |exit: Exit| {
        Verdict::Broken(format!("{when}: it {exit}{}", quoted("stderr", &run.watch.seen().stderr)))
    };
    let (mut status, began) = (0, Instant::now());
    for _ in 0..ANSWERS {
        if began.elapsed() > LIMIT {
            break;
        }
        match run.get("GET /health", harness.settings.private) {
            Ok(answer) => status = answer.status,
            Err(error) => {
                let broken = || Verdict::Broken(format!("{when}: GET /health: {error:#}"));
                return run.wait_exit(LIMIT).map_or_else(broken, |(exit, _)| ended(exit));
            }
        }
        if let Some((exit, _)) = run.wait_exit(PAUSE) {
            return ended(exit);
        }
    }
    Verdict::Kept(format!("{when}: GET /health: {status}"))
}

/// Bytes on stdin mean nothing, and its end still does.
pub(in crate::check) fn stdin_bytes(harness: &Harness) -> Result<Verdict, Verdict> {
    let mut run = harness.run(harness.start())?;
    let when = "\"quit\\nstop\\n\" on stdin";
    if let Some(lifeline) = &run.lifeline {
        let _ = rustix::io::write(lifeline, b"quit\nstop\n");
    }
    let Verdict::Kept(mut evidence) = goes_on(harness, &run, when) else {
        return Ok(goes_on(harness, &run, when));
    };
    let request = Request::Lifeline(Stdin::Pipe);
    let without_bytes = lifeline(harness)?;
    if !matches!(without_bytes, Verdict::Kept(_)) {
        return Ok(Verdict::Kept(evidence));
    }
    ask(&mut run, request);
    match run.wait_exit(LIMIT) {
        Some((exit, _)) => evidence += &format!("; then {}: it {exit}", request.name()),
        None => {
            let why = format!("{when}, then its end: it still runs after {} s", LIMIT.as_secs());
            return Ok(Verdict::Broken(why));
        }
    }
    Ok(Verdict::Kept(evidence))
}

pub(in crate::check) fn exit_status(harness: &Harness) -> Result<Verdict, Verdict> {
    let requests = [
        (Request::Signal(Signal::TERM), &harness.shared.stops.term),
        (Request::Signal(Signal::INT), &harness.shared.stops.int),
        (Request::Lifeline(Stdin::Pipe), &harness.shared.stops.lifeline),
    ];
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for (request, stops) in requests {
        let stop = stops.get_or_init(|| stop(harness, request)).clone()?;
        match stop.end {
            Some((exit, _)) if exit.is_success() => kept.push(format!("{}: it {exit}", request.name())),
            Some((exit, _)) => broken.push(format!("{}: it {exit}", request.name())),
            None => {}
        }
    }
    if kept.is_empty() && broken.is_empty() {
        return Err(Verdict::NotChecked("it does not end".to_owned()));
    }
    Ok(Verdict::unless(&broken, kept.join(", ")))
}

fn needs_sigterm(harness: &Harness) -> Result<(), Verdict> {
    match term(harness)?.end {
        Some(_) => Ok(()),
        None => Err(Verdict::NotChecked("SIGTERM does not end the program".to_owned())),
    }
}

/// Compares two times of the same program on the same machine.
pub(in crate::check) fn second_signal(harness: &Harness) -> Result<Verdict, Verdict> {
    let one = stuck(harness)?.unwrap_or(LIMIT);
    if one < DRAINS {
        return Err(Verdict::NotChecked(format!(
            "one signal ends the program after {} ms, even with an incomplete request",
            one.as_millis()
        )));
    }
    let mut took = Vec::new();
    for _ in 0..3 {
        let run = harness.run(harness.start())?;
        let _request = in_flight(harness, &run)?;
        let _ = run.signal(Signal::TERM);
        // Two signals at once can become one (signal(7)): wait until the first one has shown an effect.
        let _ = poll_until(DRAINS / 2, || (run.exit().is_some() || !serves(&run)).then_some(()));
        let asked = Instant::now();
        let _ = run.signal(Signal::TERM);
        let end = run.wait_exit(LIMIT);
        let after = end.map_or(LIMIT, |(_, at)| at.saturating_duration_since(asked));
        let text = format!(
            "with an incomplete request, one SIGTERM ends it after {} ms, a second one after {} ms",
            one.as_millis(),
            after.as_millis()
        );
        if after < one / 2 {
            return Ok(Verdict::Kept(text));
        }
        took.push(text);
    }
    Ok(Verdict::Broken(took.pop().unwrap_or_default()))
}

#[cfg(target_os = "linux")]
pub(in crate::check) fn leftovers(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_sigterm(harness)?;
    let run = harness.run(harness.start())?;
    for request in ["GET /health", "GET /", "POST /"] {
        let _ = run.get(request, harness.settings.private);
    }
    let _ = run.signal(Signal::TERM);
    if run.wait_exit(LIMIT).is_none() {
        return Err(Verdict::NotChecked("SIGTERM does not end the program".to_owned()));
    }
    // A child that the program has just killed may need a moment.
    let mut left = Vec::new();
    let gone = poll_until(DRAINS, || {
        left = crate::check::processes::of_run(&run).unwrap_or_default();
        left.is_empty().then_some(())
    });
    let names = left.iter().map(|process| format!("{} ({})", process.name, process.pid));
    Ok(if gone.is_some() {
        Verdict::Kept("SIGTERM: no process is left".to_owned())
    } else {
        Verdict::Broken(format!("SIGTERM: left running: {}", names.collect::<Vec<_>>().join(", ")))
    })
}

#[cfg(not(target_os = "linux"))]
pub(in crate::check) fn leftovers(_: &Harness) -> Result<Verdict, Verdict> {
    Err(Verdict::NotChecked("leftover processes are visible only on Linux".to_owned()))
}
