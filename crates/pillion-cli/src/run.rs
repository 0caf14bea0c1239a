//! `pillion run`: supervises a program in a terminal.

use std::{ffi::OsString, io, path::Path, process::ExitCode, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use pillion::{
    Events, Exit, FailureKind, Inherit, Program, Restart, SidecarEvent, Spec, State, Status, Supervisor,
};
use tokio::sync::mpsc;

use crate::report::{Json, Report, Terminal};

/// Supervise a program: wait until it is ready, show what it prints, stop it on Ctrl-C.
///
/// Ready means that the program announced its port on stdout and that GET on the health path answered 2xx. To
/// stop it, its stdin is closed and its process group gets SIGTERM; what is left after the grace period is killed. A
/// second Ctrl-C kills at once.
///
/// It gets this terminal's environment, but for PORT and HOST and what belongs to one process alone; env(1) sets those.
///
/// Exit status: the program's own (the last one's, where it was restarted), 128+n when signal n ended it, 125 when it never became ready.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What messages call the program; its file name by default.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The path whose 2xx answer means ready.
    #[arg(long, value_name = "PATH", default_value = "/health", value_parser = path)]
    health: String,
    /// How long a start may take, for example 30s or 2m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    ready_timeout: Duration,
    /// How long the program has to end by itself once it was asked to.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Which ends of the program make it start again: after 4 restarts within a minute it is given up.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Never)]
    restart: When,
    /// Hand the program its listener by systemd's convention, so that the port outlives a crash.
    #[arg(long)]
    handover: bool,
    /// Give the program a token, without which it is to answer nobody. Ready then means besides that it proved to hold it.
    /// The token is told to nobody else: this shows whether a program can be a private sidecar.
    #[arg(long)]
    private: bool,
    /// Write one JSON object a line on stdout, for programs to read.
    #[arg(long)]
    json: bool,
    /// The program, and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// The ends that make a program start again.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// None.
    Never,
    /// A crash, and no answer for 30 s.
    OnFailure,
    /// Those, and exit code 0.
    Always,
}

impl From<When> for Restart {
    fn from(when: When) -> Self {
        match when {
            When::Never => Self::Never,
            When::OnFailure => Self::OnFailure,
            When::Always => Self::Always,
        }
    }
}

/// What `pillion run` exits with when the program never became ready (as env(1) and timeout(1) do for their own).
const NEVER_READY: u8 = 125;

/// A path and perhaps a query, of the characters that RFC 3986 has for them: another one would never be asked for.
fn path(text: &str) -> Result<String, &'static str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
    (text.starts_with('/') && text.bytes().all(valid))
        .then(|| text.to_owned())
        .ok_or("a path starts with / and is written as in a URL, as /health")
}

pub(crate) fn main(args: Args) -> ExitCode {
    // One worker runs the supervisor, which must go on draining while this thread waits for a slow terminal.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("pillion: the system gives no resources to start: {error}");
            return ExitCode::from(NEVER_READY);
        }
    };
    let report: Box<dyn Report> = if args.json { Box::new(Json) } else { Box::new(Terminal::default()) };
    runtime.block_on(supervise(args, report))
}

async fn supervise(args: Args, mut report: Box<dyn Report>) -> ExitCode {
    let interrupts = match interrupts() {
        Ok(interrupts) => interrupts,
        Err(error) => {
            anstream::eprintln!("pillion: cannot listen to signals: {error}");
            return ExitCode::from(NEVER_READY);
        }
    };
    let (supervisor, mut events) = Supervisor::start(spec(args));
    // A task of its own, because this thread may be waiting for a terminal or a pipe that nobody reads.
    tokio::spawn(obey(interrupts, supervisor.clone()));
    let status = match show(&mut events, report.as_mut()).await {
        Shown::Down(status) => status,
        // Whoever read our output has gone, as head(1) does: nobody needs the program any more.
        Shown::NobodyReads => {
            let _ = supervisor.stop().await;
            Box::new(supervisor.status())
        }
    };
    exit_status(&status)
}

/// Stops at the first interrupt, and kills at each further one.
async fn obey(mut interrupts: mpsc::UnboundedReceiver<()>, supervisor: Supervisor) {
    let mut asked = false;
    while interrupts.recv().await.is_some() {
        let (supervisor, force) = (supervisor.clone(), std::mem::replace(&mut asked, true));
        tokio::spawn(async move { if force { supervisor.kill().await } else { supervisor.stop().await } });
    }
}

fn spec(args: Args) -> Spec {
    let mut command = args.command.into_iter();
    let program = command.next().unwrap_or_default();
    let name = args.name.or_else(|| Some(Path::new(&program).file_stem()?.to_string_lossy().into_owned()));
    // As without `pillion run`: the proxy variables of this terminal are meant for the program that runs in it.
    let program = Program::new(program)
        .args(command)
        .inherit(Inherit::all())
        .handover(args.handover)
        .private(args.private);
    Spec::run(name.unwrap_or_else(|| "sidecar".to_owned()), program)
        .health_path(args.health)
        .ready_timeout(args.ready_timeout)
        .grace(args.grace)
        .restart(args.restart.into())
}

/// Why there is nothing more to show.
enum Shown {
    Down(Box<Status>),
    NobodyReads,
}

/// Shows the events until the program is down.
async fn show(events: &mut Events, report: &mut dyn Report) -> Shown {
    while let Some(event) = events.next().await {
        if report.show(&event).is_err() {
            return Shown::NobodyReads;
        }
        if let SidecarEvent::Status(status) = event
            && matches!(status.state, State::Stopped | State::Failed)
        {
            return Shown::Down(status);
        }
    }
    Shown::NobodyReads
}

fn exit_status(status: &Status) -> ExitCode {
    let never_ready = status.failure.as_ref().is_some_and(|failure| match failure.kind {
        FailureKind::Spawn | FailureKind::ExitedEarly | FailureKind::ReadyTimeout => true,
        FailureKind::UnknownSidecar
        | FailureKind::Dependency
        | FailureKind::Crashed
        | FailureKind::Hung
        | FailureKind::NoPort
        | FailureKind::Stopped
        | _ => false,
    });
    match status.exit {
        _ if never_ready => ExitCode::from(NEVER_READY),
        Some(Exit { signal: Some(signal), .. }) => {
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
        }
        // Windows has 32-bit exit codes; what does not fit must still not look like success.
        Some(Exit { code: Some(code), .. }) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        // It was given up, and may live on.
        Some(_) | None => ExitCode::FAILURE,
    }
}

/// Whatever a terminal or an init system sends to end a program.
#[cfg(unix)]
fn interrupts() -> io::Result<mpsc::UnboundedReceiver<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()] {
        let (mut signal, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move { while signal.recv().await.is_some() && sender.send(()).is_ok() {} });
    }
    Ok(receiver)
}

/// Ctrl-C; a console that closes ends the job object with this program.
#[cfg(windows)]
fn interrupts() -> io::Result<mpsc::UnboundedReceiver<()>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut ctrl_c = tokio::signal::windows::ctrl_c()?;
    tokio::spawn(async move { while ctrl_c.recv().await.is_some() && sender.send(()).is_ok() {} });
    Ok(receiver)
}
