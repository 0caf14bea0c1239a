//! Rule 3: a stop while a request is in flight.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use pillion::Spec;
use pillion_vectors::Answer;
use rustix::process::Signal;

use super::{super::announce::poll_until, ANSWERS, DRAINS, LIMIT, TRIES, needs_sigterm};
use crate::check::{
    harness::Harness,
    report::Verdict,
    run::{Connection, Run},
};

/// A request whose end the program waits for.
pub(super) struct InFlight {
    connection: Connection,
    /// What completes it.
    rest: &'static [u8],
    /// The head is incomplete, not the body: the program answered before it read the body.
    head: bool,
}

/// Sends half of a body, or half of a head if the program answers before the end of the body.
pub(super) fn in_flight(harness: &Harness, run: &Run) -> Result<InFlight, Verdict> {
    let not_checked =
        |error: std::io::Error| Verdict::NotChecked(format!("no request could be sent: {error}"));
    let mut connection = run.connect().map_err(not_checked)?;
    let upload = format!("POST {}", harness.settings.upload);
    let head = run.head(&upload, harness.settings.private);
    let head =
        format!("{head}Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{");
    connection.write_all(head.as_bytes()).map_err(not_checked)?;
    // A program that answers other requests meanwhile could have answered this one.
    let began = Instant::now();
    for _ in 0..ANSWERS / 5 {
        let _ = run.get("GET /health", harness.settings.private);
        if began.elapsed() > DRAINS {
            break;
        }
    }
    connection.set_timeout(Duration::from_millis(300)).map_err(not_checked)?;
    let early = Answer::read(&mut connection, true);
    connection.set_timeout(harness.settings.timeout).map_err(not_checked)?;
    // No answer within that time: the program waits for the rest.
    if early.is_err() {
        return Ok(InFlight { connection, rest: b"}", head: false });
    }
    let mut connection = run.connect().map_err(not_checked)?;
    let head = run.head("GET /health", harness.settings.private);
    connection.write_all(head.as_bytes()).map_err(not_checked)?;
    // The program has probably read the half when it has answered another request.
    let _ = run.get("GET /health", harness.settings.private);
    Ok(InFlight { connection, rest: b"Connection: close\r\n\r\n", head: true })
}

/// Whether the program accepts a new connection and answers.
pub(super) fn serves(run: &Run) -> bool {
    let Ok(mut connection) = run.connect_once() else { return false };
    let request = format!("{}Connection: close\r\n\r\n", run.head("GET /health", false));
    connection.set_timeout(DRAINS).is_ok()
        && connection.write_all(request.as_bytes()).is_ok()
        && Answer::read(&mut connection, true).is_ok_and(|answer| answer.status != 0)
}

/// How long a program with an incomplete request takes to end after SIGTERM: the shortest time of up to three. `None` beyond
/// [`LIMIT`].
pub(super) fn stuck(harness: &Harness) -> Result<Option<Duration>, Verdict> {
    let measure = || {
        needs_sigterm(harness)?;
        let mut shortest = None;
        for _ in 0..TRIES {
            let run = harness.run(harness.start())?;
            let _request = in_flight(harness, &run)?;
            let asked = Instant::now();
            let _ = run.signal(Signal::TERM);
            let end = run.wait_exit(LIMIT).map(|(_, at)| at.saturating_duration_since(asked));
            shortest = end.into_iter().chain(shortest).min();
            if shortest.is_some_and(|took| took < Spec::DEFAULT_GRACE) {
                break;
            }
        }
        Ok(shortest)
    };
    harness.shared.stops.stuck.get_or_init(measure).clone()
}

/// A program that ends after its grace period, and before [`LIMIT`], gets a warning only: a slow machine may be the reason.
pub(in crate::check) fn deadline(harness: &Harness) -> Result<Verdict, Verdict> {
    let grace = Spec::DEFAULT_GRACE;
    let when = "SIGTERM with an incomplete request";
    Ok(match stuck(harness)? {
        Some(took) => {
            let margin =
                if took < grace { "" } else { ": set a shorter deadline, unless this machine is slow" };
            let (took, grace) = (took.as_millis(), grace.as_secs());
            Verdict::Kept(format!(
                "{when}: it ended after {took} ms; a host kills it after {grace} s{margin}"
            ))
        }
        None => Verdict::Broken(format!(
            "{when}: it still runs after {} s, and a host kills it after {} s",
            LIMIT.as_secs(),
            grace.as_secs()
        )),
    })
}

/// A request in flight gets its answer.
pub(in crate::check) fn drain(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_sigterm(harness)?;
    finishes(harness, "SIGTERM", |run| {
        let _ = run.signal(Signal::TERM);
        // The program has noticed the signal when it serves no more, or ends.
        let _ = poll_until(DRAINS, || (run.exit().is_some() || !serves(run)).then_some(()));
    })
}

/// It also does if the host asks as hosts do: it ends stdin, and sends SIGTERM, which a wrapper passes on once more.
pub(in crate::check) fn drain_after_lifeline(harness: &Harness) -> Result<Verdict, Verdict> {
    for (check, verdict) in [("lifeline", super::lifeline(harness)?), ("drain", drain(harness)?)] {
        if !matches!(verdict, Verdict::Kept(_)) {
            return Err(Verdict::NotChecked(format!("the check {check} fails")));
        }
    }
    finishes(harness, "the end of stdin, then SIGTERM twice", |run| {
        run.lifeline = None;
        let _ = poll_until(DRAINS / 4, || (run.exit().is_some() || !serves(run)).then_some(()));
        // Two signals at once can become one (signal(7)), and neither has an effect that a client could see.
        for _ in 0..2 {
            let _ = run.signal(Signal::TERM);
            let _ = run.wait_exit(DRAINS / 4);
        }
    })
}

/// Asks the program to stop while it has a request in flight, and completes that.
fn finishes(harness: &Harness, asked: &str, ask: impl FnOnce(&mut Run)) -> Result<Verdict, Verdict> {
    let mut run = harness.run(harness.start())?;
    let mut request = in_flight(harness, &run)?;
    ask(&mut run);
    let sent = request.connection.write_all(request.rest);
    let part = if request.head { "the rest of a head" } else { "the rest of a body" };
    let answer = sent.map_err(Into::into).and_then(|()| Answer::read(&mut request.connection, true));
    let why = match answer {
        Ok(answer) if answer.status != 0 => {
            let text = format!("{asked}, then {part}: answered with {}", answer.status);
            return Ok(Verdict::Kept(text));
        }
        Ok(answer) => answer.text(),
        Err(error) => format!("{error:#}"),
    };
    if request.head {
        let path = &harness.settings.upload;
        return Err(Verdict::NotChecked(format!(
            "POST {path} is answered before its body is complete: name a path whose handler reads the body, with --upload"
        )));
    }
    let ended = run.exit().map(|(exit, _)| format!(" (it {exit})")).unwrap_or_default();
    Ok(Verdict::Broken(format!("{asked}, then {part}: {why}{ended}")))
}

pub(in crate::check) fn no_new_connections(harness: &Harness) -> Result<Verdict, Verdict> {
    needs_sigterm(harness)?;
    let run = harness.run(harness.start())?;
    let mut request = in_flight(harness, &run)?;
    let asked = Instant::now();
    let _ = run.signal(Signal::TERM);
    let mut served = 0;
    let _ = poll_until(LIMIT, || {
        let serves = serves(&run);
        served += u32::from(serves);
        (!serves || run.exit().is_some()).then_some(())
    });
    let after = asked.elapsed();
    // A program that has ended refuses connections too. One that answers the request in flight, or goes on, has not ended.
    let answered = request.connection.write_all(request.rest).is_ok()
        && Answer::read(&mut request.connection, true).is_ok_and(|answer| answer.status != 0);
    let refused = after < LIMIT;
    if refused && (answered || run.wait_exit(DRAINS).is_none()) {
        return Ok(Verdict::Kept(format!(
            "SIGTERM with an incomplete request: refused new connections after {} ms",
            after.as_millis()
        )));
    }
    if after < DRAINS {
        return Err(Verdict::NotChecked(
            "the program ends at once, even with a request in flight".to_owned(),
        ));
    }
    Ok(Verdict::Broken(format!(
        "SIGTERM with an incomplete request: it served {served} new connections within {} ms",
        after.as_millis()
    )))
}
