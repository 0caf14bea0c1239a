//! `pillion run`: supervises a program in a terminal.

mod args;
mod control;
mod display;
mod status_line;

use std::{io, process::ExitCode, time::Duration};

use pillion::{Events, Exit, FailureKind, SidecarEvent, State, Status, Supervisor};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

pub(crate) use self::args::{Args, path};
use self::{
    display::{EventPrinter, Json, Terminal},
    status_line::StatusLine,
};
use crate::{
    async_runtime::{RuntimeEnd, start_runtime},
    interrupts::{Interrupt, interrupts},
};

/// The exit code if the program never became ready. env(1) and timeout(1) use the same code for their own errors.
const NEVER_READY: u8 = 125;
/// How long the control socket waits for the launch, which it would delay.
const SOCKET_DELAY: Duration = Duration::from_millis(100);

/// Loads the guard's program, and starts the runtime meanwhile: neither needs the command line.
pub(crate) fn prepare() -> io::Result<(Handle, RuntimeEnd)> {
    pillion::guard::prepare();
    start_runtime()
}

pub(crate) fn main(args: Args, runtime: io::Result<(Handle, RuntimeEnd)>) -> ExitCode {
    args.exit_on_conflict();
    if let Some(advice) = args.placeholder_advice() {
        anstream::eprintln!("pillion: {advice}");
    }
    match runtime {
        Ok((runtime, end)) => {
            let report: Box<dyn EventPrinter> =
                if args.json { Box::new(Json) } else { Box::new(terminal(&args)) };
            let code = runtime.block_on(supervise(args, report));
            end.leave();
            code
        }
        Err(error) => {
            anstream::eprintln!(
                "pillion: cannot start the async runtime: {error}; raise the limit of processes and threads (ulimit -u)"
            );
            ExitCode::from(NEVER_READY)
        }
    }
}

async fn supervise(args: Args, mut report: Box<dyn EventPrinter>) -> ExitCode {
    let level = (!args.no_control).then(|| args.control.into());
    let has_log = args.has_log();
    // First, because the program needs nothing of what follows: the guard ends it if this process is killed before that is done.
    let (supervisor, mut events) = Supervisor::start(args.into_spec());
    match interrupts() {
        // A separate task, because this thread may wait for a slow terminal or an unread pipe.
        Ok(interrupts) => drop(tokio::spawn(stop_on_interrupt(interrupts, supervisor.clone()))),
        Err(error) => {
            anstream::eprintln!("pillion: cannot listen for signals: {error}");
            let _ = supervisor.stop().await;
            return ExitCode::from(NEVER_READY);
        }
    }
    // As soon as the program is launched, and before anything is shown: a reader of this output may look for the socket. But not after
    // a launch that hangs, which `pillion ps` should show.
    let first = timeout(SOCKET_DELAY, events.next()).await;
    let _socket = level.and_then(|level| control::serve(level, &supervisor, report.as_mut()));
    let first = match first {
        Ok(first) => first,
        Err(_) => events.next().await,
    };
    let status = match show(first, &mut events, report.as_mut(), &supervisor).await {
        Shown::Down(status) => {
            if has_log {
                // Returns once its last line is in the log file.
                let _ = supervisor.stop().await;
            }
            status
        }
        // The reader of this output is gone, for example head(1), so the program is not needed any more.
        Shown::OutputClosed => {
            let _ = supervisor.stop().await;
            Box::new(supervisor.status())
        }
    };
    exit_status(&status)
}

/// Stops the program at the first interrupt, and kills it at each further one from the keyboard.
async fn stop_on_interrupt(mut interrupts: mpsc::UnboundedReceiver<Interrupt>, supervisor: Supervisor) {
    let mut asked = false;
    while let Some(interrupt) = interrupts.recv().await {
        let again = std::mem::replace(&mut asked, true);
        let (supervisor, force) = (supervisor.clone(), again && interrupt == Interrupt::Key);
        tokio::spawn(async move { if force { supervisor.kill().await } else { supervisor.stop().await } });
    }
}

/// Why the display ended.
enum Shown {
    Down(Box<Status>),
    OutputClosed,
}

/// The display for people. A program that reads the terminal itself has its last row alone.
fn terminal(args: &Args) -> Terminal {
    Terminal::with_status_line(if args.is_quiet() { None } else { StatusLine::new() })
}

/// Shows the events until the program is down, and how it is meanwhile.
async fn show(
    first: Option<SidecarEvent>,
    events: &mut Events,
    report: &mut dyn EventPrinter,
    supervisor: &Supervisor,
) -> Shown {
    // Nothing is measured that is not shown.
    let mut usage = report.is_live().then(|| supervisor.usage());
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut next = first;
    loop {
        let Some(event) = next else { return Shown::OutputClosed };
        if report.show(&event).is_err() {
            return Shown::OutputClosed;
        }
        if let SidecarEvent::Status(status) = event
            && matches!(status.state, State::Stopped | State::Failed)
        {
            return Shown::Down(status);
        }
        next = loop {
            let measured = async {
                match &mut usage {
                    Some(usage) => usage.next().await,
                    None => std::future::pending().await,
                }
            };
            let shown = tokio::select! {
                event = events.next() => break event,
                measured = measured => {
                    let shown = report.tick(measured.as_ref());
                    // Without a value, none follows.
                    usage = usage.filter(|_| measured.is_some());
                    shown
                }
                _ = seconds.tick(), if report.is_live() => report.tick(None),
            };
            if shown.is_err() {
                return Shown::OutputClosed;
            }
        };
    }
}

fn exit_status(status: &Status) -> ExitCode {
    let never_ready = status.failure.as_ref().is_some_and(|failure| match failure.kind {
        FailureKind::Spawn | FailureKind::Mismatch | FailureKind::ExitedEarly | FailureKind::ReadyTimeout => {
            true
        }
        FailureKind::UnknownSidecar
        | FailureKind::Dependency
        | FailureKind::Crashed
        | FailureKind::Hung
        | FailureKind::MemoryLimit
        | FailureKind::NoPort
        | FailureKind::Stopped
        | _ => false,
    });
    match status.exit {
        _ if never_ready => ExitCode::from(NEVER_READY),
        Some(Exit { signal: Some(signal), .. }) => {
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        // An exit code of Windows has 32 bits. A code that does not fit must not become 0.
        Some(Exit { code: Some(code), .. }) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        // The supervisor abandoned a process that did not die.
        Some(_) | None => ExitCode::FAILURE,
    }
}
