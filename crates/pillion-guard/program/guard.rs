//! The guard of one sidecar.
//!
//! ```text
//! pillion-guard GRACE_MS LISTENER INPUT RUN_FILE JOURNAL SIGNAL,SCOPE,TEXT PROGRAM ARGUMENT…
//! ```
//!
//! Stdin is a socket to the supervisor. Stdout and stderr belong to the sidecar. The guard starts the program in a new
//! process group. If `INPUT` is 0, the program's stdin is a pipe, the *lifeline*; the guard keeps its write end. If it is 1, the
//! supervisor sends the descriptor that becomes the program's stdin. A terminal works there, because the guard's session has no
//! controlling terminal, so that job control does not stop the program when it reads (SIGTTIN, setsid(2)).
//!
//! The first byte on the socket carries descriptors (`SCM_RIGHTS`): a listener if `LISTENER` is 1 (not 0), the stdin if `INPUT` is 1, the
//! file of the run if `RUN_FILE` is 1, the journal if `JOURNAL` is not 0, and the read ends of the sidecar's stdout and stderr. The program
//! finds the listener at descriptor 3 and its own process id in `LISTEN_PID`. The supervisor sets the other variables of
//! `sd_listen_fds(3)`, and zeros where the guard writes the process id, also in `WATCHDOG_PID` for `sd_watchdog_enabled(3)`. The guard
//! reads the output only after the app's death: without a reader, the sidecar's next line would kill it. It keeps up to 8 MiB of it.
//!
//! If `JOURNAL` is not 0, the sidecar has a log file, and the journal has what the app has read and not written to it
//! (`log_lines/journal.rs`); the number, less one, is the place of the run there. After the app's death, once no process is left, the guard
//! writes that of all runs, unless another one has done so, and what it has read itself to the log file (`RunLog`).
//!
//! The guard holds the open file of the run, and so its lock (flock(2)), until it exits. After the app's death it notes there how the
//! run ends, because no other process learns of it (`RunFile`).
//!
//! The sixth argument is the stop request: the number of a signal, `leader` or `group`, and a text for the program's stdin,
//! which may be empty.
//!
//! | from the supervisor | what the guard does |
//! | --- | --- |
//! | `A` | asks the leader to end: writes the text to its stdin, or without a text sends it the signal; ends its stdin. With the scope `group` the signal goes to the whole group |
//! | `G` | asks every process to end that was not asked yet, by the signal |
//! | `K` | kills every remaining process |
//! | `H`, a length (4 bytes, little-endian), a message | remembers an HTTP request for the app's death (`HttpStopMessage`) |
//! | `D` | the supervisor has asked the leader by HTTP |
//! | end of the stream, or of the app's process | the app is gone: asks the leader (by HTTP if it can), asks the rest when the leader has ended or after half of the grace period, and kills when the grace period is over |
//!
//! Each process gets the signal once.
//!
//! | line to the supervisor | meaning |
//! | --- | --- |
//! | `limited TEXT` | the guard cannot do this |
//! | `spawned PID` | the program runs |
//! | `failed ERRNO` | the program could not be started; the guard exits |
//! | `exited CODE`, `signalled NUMBER`, and ` core` after a core dump | the program has ended |
//! | `remember PID START` | a descendant has left the guard's session: the supervisor has to know it if the guard is killed |
//! | `used MICROSECONDS BYTES` | the processor time of all processes that were reaped, and the largest resident set of one, or `-` |
//! | `gone` | the program and all its descendants have ended; the guard exits |
//!
//! On Linux the guard is a child subreaper: a process that daemonises itself becomes the guard's child and stays visible. The guard's death
//! kills the program, and the app's death wakes the guard (`PR_SET_PDEATHSIG`). On macOS the guard finds descendants by the process that
//! forked them, process group and environment, and a kernel queue tells it of the app's death. It has its own session, so that neither
//! Ctrl-C nor a closed terminal reaches it. It has one thread and no configuration.
//!
//! Where there is a light guard (`light/main.rs`), the supervisor starts the sidecar, and the light guard becomes this program when there is
//! more to do. The first argument is then `resume`, and what the light one knew follows (`guard_state`): the sidecar runs, and signals and
//! descriptors are as they were.

#![expect(clippy::print_stderr, reason = "a guard that is started by hand has no other output")]

mod control;
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod decimal;
mod ending;
#[cfg_attr(not(test), expect(dead_code, reason = "the supervisor and the light guard use the other half"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod guard_state;
#[expect(unreachable_pub, reason = "it is public on Windows")]
mod http_stop;
mod launch;
#[cfg(target_os = "linux")]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod limits;
#[cfg_attr(not(test), expect(dead_code, reason = "the supervisor, and tests, use the other half"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod log_lines;
mod looks;
#[cfg(target_os = "linux")]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod names;
mod run_file;
mod run_log;
mod stop;
#[expect(unsafe_code, reason = "std does not offer these system calls")]
mod sys;

use std::{
    ffi::OsString,
    io::PipeWriter,
    os::unix::ffi::OsStrExt,
    time::{Duration, Instant},
};

use control::{read_command, read_message, report};
use ending::{Deadlines, end_line, end_words};
use http_stop::HttpStopMessage;
use launch::{resume, start};
use looks::Looks;
use run_file::RunFile;
use run_log::RunLog;
use stop::StopArgument;
use sys::{Descendant, Pid, Wake};

/// Guards one sidecar, as these arguments say. Returns when all its processes have ended, or exits if it cannot start. It takes the whole
/// process: standard streams, signals, children, environment. The process must have one thread, and loses all other open descriptors.
///
/// `strict` exits if the supervisor's first message does not come. Otherwise the sidecar starts without what that message has.
pub fn run(arguments: impl Iterator<Item = OsString>, strict: bool) {
    let mut arguments = arguments.peekable();
    let resumed = arguments.next_if(|first| first.as_bytes() == guard_state::RESUME).is_some();
    let (mut guard, grace) = if resumed { resume(arguments) } else { start(arguments, strict) };
    guard.guard(grace);
    if let Some((micros, bytes)) = sys::used_by_children(resumed) {
        let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        guard.tell(&format!("used {micros} {bytes}"));
    }
    guard.tell("gone");
    if guard.run_file.has_app_died() {
        let end = guard.end.take().unwrap_or_else(|| "ended".to_owned());
        guard.run_log.write(&mut guard.outputs, &end);
    }
    // The next start of the app finds the log file complete when it sees the end of the run.
    guard.run_file.write();
}

/// The sidecar and its descendants.
struct Guard {
    leader: Pid,
    /// Whether the leader was reaped. From then on the kernel may reuse its process id.
    reaped: bool,
    descendants: sys::Descendants,
    /// After which time descendants are reported for the first time.
    remember_first: Duration,
    /// The write end of the leader's stdin, if that is the lifeline.
    lifeline: Option<PipeWriter>,
    outputs: sys::Outputs,
    run_file: RunFile,
    run_log: RunLog,
    /// How the leader has ended, in words.
    end: Option<String>,
    stop: StopArgument,
    http_stop: Option<HttpStopMessage>,
    /// Whether the leader was asked to end, in whatever way.
    leader_asked: bool,
    /// Whether the others were asked as well. A process that is orphaned later is then asked, too.
    rest_asked: bool,
    /// Whether the whole group got the signal at once.
    group_signalled: bool,
    /// Whether a process was spared because it reads the output of another one.
    readers_spared: bool,
    /// Whether the leader got the signal.
    leader_signalled: bool,
    /// The other processes that got the signal. No process gets it twice.
    signalled: Vec<Descendant>,
    /// Those that the last kill was for.
    killed: Vec<Descendant>,
}

impl Guard {
    /// A guard of a leader that runs, and that was not asked to end.
    fn new(leader: Pid, lifeline: Option<PipeWriter>, outputs: sys::Outputs, stop: StopArgument) -> Self {
        Self {
            leader,
            reaped: false,
            descendants: sys::Descendants::new(),
            remember_first: looks::FIRST,
            lifeline,
            outputs,
            run_file: RunFile::default(),
            run_log: RunLog::default(),
            end: None,
            stop,
            http_stop: None,
            leader_asked: false,
            rest_asked: false,
            group_signalled: false,
            readers_spared: false,
            leader_signalled: false,
            signalled: Vec::new(),
            killed: Vec::new(),
        }
    }

    /// Returns when the sidecar and all its descendants have ended.
    fn guard(&mut self, grace: Duration) {
        let mut connected = true;
        let mut deadlines = Deadlines { ask_rest: None, kill: None };
        let mut child_died = false;
        let mut looks = Looks::new(self.remember_first);
        sys::watch_forks(self.leader);
        while self.reap() {
            let now = Instant::now();
            // The children of a dead process have become ours. Check after reaping: most of the time nothing is left.
            let orphans = std::mem::take(&mut child_died) && self.rest_asked;
            let rest_is_due = !connected && (self.reaped || deadlines.ask_rest.is_some_and(|due| now >= due));
            if orphans || (rest_is_due && !self.rest_asked) {
                self.ask_rest();
                deadlines.ask_rest = None;
            }
            if deadlines.kill.is_some_and(|due| now >= due) {
                self.run_file.note_kill(!self.reaped);
                self.kill();
            }
            if connected && looks.is_due(now) {
                self.remember();
            }
            let timeout = self.timeout(deadlines, looks.due.filter(|_| connected));
            match sys::wait(connected, &mut self.outputs, &mut self.run_log, timeout) {
                Wake::Output => {}
                Wake::Child | Wake::TimedOut => child_died = true,
                Wake::LeaderForked => {
                    if looks.forked(now) {
                        self.list();
                    }
                    // A leader that forks all the time must not hide the deaths.
                    child_died = true;
                }
                Wake::AppDied if !connected => {}
                Wake::AppDied => self.app_died(&mut connected, &mut deadlines, grace),
                Wake::Supervisor => match read_command() {
                    Some(command) => self.obey(command, &mut deadlines),
                    None => self.app_died(&mut connected, &mut deadlines, grace),
                },
            }
        }
    }

    fn obey(&mut self, command: u8, deadlines: &mut Deadlines) {
        match command {
            b'A' => self.ask_leader(),
            b'G' => self.ask_rest(),
            b'K' => {
                self.run_file.kill_requested();
                self.kill();
                deadlines.kill = Some(Instant::now());
            }
            b'H' => self.http_stop = read_message().and_then(|message| HttpStopMessage::parse(&message)),
            b'D' => self.leader_asked = true,
            _ => {}
        }
    }

    /// Begins to end the sidecar without the app.
    fn app_died(&mut self, connected: &mut bool, deadlines: &mut Deadlines, grace: Duration) {
        *connected = false;
        sys::name_cleanup();
        // The wait may have lasted for hours: the grace period starts now.
        let now = Instant::now();
        self.outputs.take_over();
        self.run_file.app_died();
        deadlines.ask_rest = now.checked_add(grace / 2);
        deadlines.kill = deadlines.kill.or_else(|| now.checked_add(grace));
        self.ask_leader_by_http_or_else();
    }

    /// Reaps the dead children. Returns false when no process is left.
    fn reap(&mut self) -> bool {
        if !sys::IS_SUBREAPER && !self.reaped {
            // There is no other child, and a look at each wake would take long: a leader may fork all the time.
            if sys::lives(self.leader) {
                return true;
            }
            // Record the members of the leader's group before its number becomes reusable.
            self.list();
        }
        loop {
            match sys::reap() {
                sys::Reaped::Child(pid, status) if pid == self.leader && !self.reaped => {
                    self.reaped = true;
                    self.end = Some(end_words(status));
                    self.tell(&end_line(status));
                }
                sys::Reaped::Child(..) => {}
                sys::Reaped::NoneDead => return true,
                sys::Reaped::NoneLeft => {
                    return !sys::IS_SUBREAPER && !self.descendants.none_left(self.leader);
                }
            }
        }
    }

    /// Sends a line to the supervisor, and notes it for the next start of the app.
    fn tell(&mut self, line: &str) {
        self.tell_at(line, run_file::now());
    }

    /// Does so for something that was `at` this time, in milliseconds since the Unix epoch.
    fn tell_at(&mut self, line: &str, at: u128) {
        let told = report(line);
        self.run_file.note_at(line, at);
        if !told {
            // The app has died at the same moment, and the loop may end before it sees that.
            self.run_file.app_died();
        }
    }

    /// Tells the supervisor the processes that it could not find after this guard's death.
    fn remember(&mut self) {
        if !sys::IS_SUBREAPER {
            self.list();
        }
        for process in self.descendants.take_new() {
            report(&format!("remember {} {}", process.pid, process.start_time));
        }
    }

    fn list(&mut self) -> Vec<Descendant> {
        self.descendants.list(self.leader, !self.reaped)
    }

    fn list_deep(&mut self) -> Vec<Descendant> {
        self.descendants.list_deep(self.leader, !self.reaped)
    }

    /// How long to wait at most.
    ///
    /// After the deadline, a killed process may leave children, which become ours with its death. Its death wakes us;
    /// polling covers the rest. Where the guard is not a subreaper, only the leader's death wakes us.
    fn timeout(&self, deadlines: Deadlines, remember_at: Option<Instant>) -> Option<Duration> {
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        const READERS_INTERVAL: Duration = Duration::from_millis(100);
        if !sys::IS_SUBREAPER && self.reaped {
            return Some(POLL_INTERVAL);
        }
        if self.readers_spared {
            // The end of the process that they read may not wake us.
            return Some(READERS_INTERVAL);
        }
        let next = deadlines.ask_rest.into_iter().chain(deadlines.kill).chain(remember_at).min();
        next.map(|next| next.saturating_duration_since(Instant::now()).max(POLL_INTERVAL))
    }
}
