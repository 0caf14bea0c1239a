//! How the guard begins: it starts the sidecar, or continues the work of a light guard.

use std::{
    ffi::OsString,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    process::{Command, Stdio, exit},
    time::Duration,
};

use super::{
    Guard,
    control::report,
    ending::{end_line, end_words},
    guard_state::GuardState,
    looks,
    run_file::RunFile,
    run_log::RunLog,
    stop::StopArgument,
    sys::{self, Announced, Pid},
};

/// Ends this process, which was started with other arguments than the supervisor gives.
fn refuse() -> ! {
    eprintln!("pillion-guard is started by pillion, not by hand");
    exit(2);
}

/// Starts the sidecar.
pub(crate) fn start(mut arguments: impl Iterator<Item = OsString>, strict: bool) -> (Guard, Duration) {
    let grace = arguments.next().and_then(|grace| grace.to_str()?.parse().ok()).map(Duration::from_millis);
    let listener = arguments.next().is_some_and(|listener| listener == "1");
    let input = arguments.next().is_some_and(|input| input == "1");
    let run_file = arguments.next().is_some_and(|run_file| run_file == "1");
    let place = arguments.next().and_then(|journal| journal.to_str()?.parse::<usize>().ok()?.checked_sub(1));
    let stop = arguments.next().and_then(|stop| StopArgument::parse(&stop));
    let (Some(grace), Some(stop), Some(program)) = (grace, stop, arguments.next()) else { refuse() };
    let announced = Announced { listener, stdin: input, run_file, journal: place.is_some(), strict };
    let sys::Detached { listener, stdin, run_file, journal, outputs, limited } = sys::detach(announced);
    if let Some(why) = limited {
        report(&format!("limited {why}"));
    }
    let mut guard = match Guard::start(&program, arguments, listener, stdin, outputs, stop) {
        Ok(guard) => guard,
        Err(error) => {
            report(&format!("failed {}", error.raw_os_error().unwrap_or(0)));
            exit(1);
        }
    };
    guard.run_file = RunFile::new(run_file);
    guard.run_log = RunLog::new(journal, place);
    (guard, grace)
}

/// Continues the work of a light guard.
pub(crate) fn resume(mut arguments: impl Iterator<Item = OsString>) -> (Guard, Duration) {
    let state = arguments.next().and_then(|state| GuardState::parse(state.as_bytes()));
    let grace = arguments.next().and_then(|grace| grace.to_str()?.parse().ok()).map(Duration::from_millis);
    let stop = arguments.next().and_then(|stop| StopArgument::parse(&stop));
    let (Some(state), Some(grace), Some(stop)) = (state, grace, stop) else { refuse() };
    let sys::Resumed { leader, ended, lifeline, run_file, journal, outputs } = sys::resume(&state);
    let mut guard = Guard::new(leader, lifeline, outputs, stop);
    guard.run_file = RunFile::new(run_file);
    guard.run_log = RunLog::new(journal, state.place.and_then(|place| usize::try_from(place).ok()));
    if state.app_gone {
        // Before anything else is noted: the sidecar may end before the end of the socket is read.
        guard.run_file.app_died();
    }
    (guard.leader_asked, guard.leader_signalled) = (state.asked, state.asked);
    guard.remember_first = looks::FIRST_RESUMED;
    if let Some((status, at)) = ended {
        guard.reaped = true;
        guard.end = Some(end_words(status));
        guard.tell_at(&end_line(status), at);
    }
    (guard, grace)
}

impl Guard {
    #[expect(clippy::disallowed_methods, reason = "the guard owns this child")]
    fn start(
        program: &OsString,
        arguments: impl Iterator<Item = OsString>,
        listener: bool,
        stdin: Option<OwnedFd>,
        outputs: sys::Outputs,
        stop: StopArgument,
    ) -> std::io::Result<Self> {
        let (stdin, lifeline) = match stdin {
            Some(stdin) => (Stdio::from(stdin), None),
            None => {
                let (stdin, lifeline) = std::io::pipe()?;
                (Stdio::from(stdin), Some(lifeline))
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).process_group(0);
        sys::bind_to_this_process(&mut command, listener)?;
        let leader = Pid::from(command.spawn()?.id());
        report(&format!("spawned {leader}"));
        // The program's streams must end with the program, not with the guard.
        drop(command);
        sys::release_fds(listener);
        Ok(Self::new(leader, lifeline, outputs, stop))
    }
}
