//! The sentences of a start that failed.

use std::{net::SocketAddr, num::NonZeroU16, time::Duration};

use pillion_protocol::{ListenAddr, health::DEFAULT_PATH};

use super::{StartDiagnostics, ended, left, out_of_memory, place, status};
use crate::{
    health::not_ready::NotReady,
    report::units::duration,
    spec::{HttpCheck, ReadyCheck, ServerSource, Spec},
    state::Step,
    status::Exit,
};

pub(super) fn exited_early(
    spec: &Spec,
    exit: Option<Exit>,
    step: Step,
    diagnostics: &StartDiagnostics,
) -> String {
    let name = &spec.name;
    let lived = diagnostics.lived.map(|lived| format!(" after {}", duration(lived))).unwrap_or_default();
    let before = match step {
        Step::Launching | Step::Announcing => "before it announced a port".to_owned(),
        Step::Checking { addr: Some(addr) } if spec.ready_check.needs_address() => {
            if is_given(addr, diagnostics) {
                format!("before it was healthy on {}", place(addr))
            } else {
                format!("after it announced {addr} and before it was healthy")
            }
        }
        Step::Checking { .. } => "before it was ready".to_owned(),
    };
    let (memory, left) = (out_of_memory(diagnostics), left(diagnostics));
    let progress = diagnostics.progress.last().map(|words| format!("; its last progress was {words:?}"));
    let progress = progress.unwrap_or_default();
    let signature = invalid_signature(exit, diagnostics.lived, cfg!(target_os = "macos"));
    let misannounced = misannounced(diagnostics);
    format!("{name} {}{lived}, {before}{progress}{memory}{signature}{left}{misannounced}", ended(exit))
}

/// What may have ended a program that was killed before it can have done anything.
fn invalid_signature(exit: Option<Exit>, lived: Option<Duration>, macos: bool) -> &'static str {
    /// The system looks at a program for a while before it runs it for the first time.
    const AT_ONCE: Duration = Duration::from_secs(5);
    let killed = exit.is_some_and(|exit| exit.signal == Some(SIGKILL));
    if macos && killed && lived.is_some_and(|lived| lived < AT_ONCE) {
        "; macOS kills a program whose code signature is missing, or does not fit because the program was changed or replaced in place: \
         `codesign --verify --verbose PROGRAM` tells, and `pillion package` signs what it builds"
    } else {
        ""
    }
}

/// The number of SIGKILL on every Unix (signal(7)).
const SIGKILL: i32 = 9;

pub(super) fn timed_out(spec: &Spec, step: Step, diagnostics: &StartDiagnostics) -> String {
    let limit = duration(diagnostics.time_limit.unwrap_or(spec.ready_timeout));
    let name = &spec.name;
    if let Some(addr) = diagnostics.refused_port {
        let pipe = if cfg!(windows) { " (the SDKs for Node, Python and Go take no named pipe)" } else { "" };
        return format!(
            "{name} announced {addr} and did not take its local socket. Its declaration forbids a port, because every \
             program on this machine can connect to a port. Let the sidecar take the listener, as rule 6 of the protocol \
             says and pillion-server does{pipe}, or allow the port (`portFallback`), or declare \"transport\": \"tcp\""
        );
    }
    match step {
        Step::Launching | Step::Announcing => {
            let said = misannounced(diagnostics);
            // A server that says nothing of the kind may be one that the author of the app cannot change.
            let how = how_to_announce(if said.is_empty() { UNCHANGED } else { "" });
            let but =
                listens(diagnostics).map(|places| format!(", but listens on {places}")).unwrap_or_default();
            let progress = longer(spec, diagnostics);
            format!("{name} announced no port within {limit}{but}: {how}{progress}{said}")
        }
        Step::Checking { addr: Some(addr) } if diagnostics.not_ready == Some(NotReady::Unproved) => format!(
            "`private` is on for {name}, but GET {DEFAULT_PATH} on {addr}, which it {}, returned no proof of its \
             token. Implement rule 5 of the protocol (docs/protocol.md#5-be-private), as pillion-server does, or turn \
             `private` off (\"private\": false): then every program on this machine can call it",
            known(spec, addr, diagnostics)
        ),
        Step::Checking { addr } => not_ready(spec, addr, &limit, diagnostics),
    }
}

/// The check did not pass within the limit.
fn not_ready(spec: &Spec, addr: Option<ListenAddr>, limit: &str, diagnostics: &StartDiagnostics) -> String {
    let (name, last) = (&spec.name, diagnostics.not_ready.as_ref());
    let known = addr.map(|addr| format!("{} {addr}, but ", known(spec, addr, diagnostics)));
    let (known, on) = (known.unwrap_or_default(), addr.map_or_else(String::new, place));
    let answer = match spec.effective_check() {
        ReadyCheck::Health => {
            format!("{name} {known}GET {} on {on} did not answer 2xx", spec.health_path)
        }
        ReadyCheck::Http(check @ HttpCheck { path, .. }) => {
            format!("{name} {known}GET {path} on {on} did not answer {}", status(check))
        }
        ReadyCheck::Tcp => format!("{name} {known}{on} accepted no connection"),
        ReadyCheck::Line(check) => format!("{name} did not write {check}"),
        ReadyCheck::Exec(check) => match last {
            Some(why @ NotReady::NoCommand(_)) => {
                return format!("{name} cannot be checked by {check}: {why}");
            }
            _ => format!("{name} was not ready: {check} did not exit with code 0"),
        },
        ReadyCheck::Notify => format!("{name} did not send READY=1 to its NOTIFY_SOCKET"),
        ReadyCheck::Started => format!("{name} did not start"),
    };
    let why = match spec.effective_check() {
        ReadyCheck::Line(_) | ReadyCheck::Notify => String::new(),
        _ => format!(": {}", last.map_or_else(|| "no answer came".to_owned(), ToString::to_string)),
    };
    let cure = last.and_then(NotReady::cure).map(|cure| format!("; {cure}")).unwrap_or_default();
    let misannounced =
        if spec.ready_check.needs_address() { String::new() } else { misannounced(diagnostics) };
    let (elsewhere, progress) = (elsewhere(addr, diagnostics), longer(spec, diagnostics));
    format!("{answer} within {limit}{why}{elsewhere}{progress}{cure}{misannounced}")
}

/// How far the sidecar said it was when its time was over, and how it gets more time.
fn longer(spec: &Spec, diagnostics: &StartDiagnostics) -> String {
    let Some(words) = diagnostics.progress.last() else { return String::new() };
    let cure = match spec.ready_timeout_max {
        Some(max) if diagnostics.time_limit == Some(max) => {
            "its progress cannot extend the time-out further; raise `readyTimeoutMaxMs` if it needs longer"
        }
        Some(_) => "it reported no progress since then",
        None => {
            "if it needs longer, raise `readyTimeoutMs`, or set `readyTimeoutMaxMs`, so that its progress extends the time-out"
        }
    };
    format!("; its last progress was {words:?}; {cure}")
}

/// How the supervisor knows the address. Completes a sentence about the sidecar.
fn known(spec: &Spec, addr: ListenAddr, diagnostics: &StartDiagnostics) -> &'static str {
    match spec.source {
        ServerSource::Run(_) if is_given(addr, diagnostics) => "was given",
        ServerSource::Run(_) => "announced",
        ServerSource::Attach(_) => "was expected on",
    }
}

/// Whether the declaration gave the sidecar this port.
fn is_given(addr: ListenAddr, diagnostics: &StartDiagnostics) -> bool {
    diagnostics.given_port.is_some() && diagnostics.given_port == addr.port()
}

/// Where the sidecar listens instead of at the port that it was given, and what to do.
fn elsewhere(addr: Option<ListenAddr>, diagnostics: &StartDiagnostics) -> String {
    let given = addr.filter(|addr| is_given(*addr, diagnostics)).and_then(ListenAddr::port);
    let listens_there = |port: NonZeroU16| diagnostics.listens.iter().any(|place| place.port() == port.get());
    if given.is_none_or(listens_there) {
        return String::new();
    }
    match (listens(diagnostics), &diagnostics.not_ready) {
        (Some(places), _) => format!("; it listens on {places} instead: {TAKE_PORT}"),
        (None, Some(NotReady::Unreachable(_))) => format!("; {TAKE_PORT}"),
        (None, _) => String::new(),
    }
}

/// What a server must do that was given a port.
pub(super) const TAKE_PORT: &str = "it must take that port from its arguments or from the variable that `portEnv` names, or its \
                                    declaration must name another `port` (docs/servers.md)";

fn listens(diagnostics: &StartDiagnostics) -> Option<String> {
    (!diagnostics.listens.is_empty()).then(|| listed(&diagnostics.listens))
}

pub(super) fn listed(places: &[SocketAddr]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The other way, for a server that says nothing of the kind.
pub(super) const UNCHANGED: &str =
    "; or leave the server as it is, and declare its `port` and when it is `ready` (docs/servers.md)";

pub(super) fn how_to_announce(unchanged: &str) -> String {
    format!("it must print BACKEND_PORT:{{port}} and a newline on stdout, and flush it{unchanged}")
}

fn misannounced(diagnostics: &StartDiagnostics) -> String {
    let malformed = diagnostics.misannounced.as_ref().map(|note| format!("; {note}"));
    let near_miss = || diagnostics.near_miss.as_ref().map(|line| format!("; it printed {line}"));
    malformed.or_else(near_miss).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_macos_kills_at_its_start_may_have_an_invalid_signature() {
        let killed = |signal, lived, macos| {
            let exit = Exit { code: None, signal: Some(signal) };
            !invalid_signature(Some(exit), Some(Duration::from_millis(lived)), macos).is_empty()
        };
        assert!(killed(9, 3, true));
        assert!(!killed(9, 3, false) && !killed(15, 3, true) && !killed(9, 60_000, true));
        assert_eq!(invalid_signature(None, None, true), "");
    }
}
