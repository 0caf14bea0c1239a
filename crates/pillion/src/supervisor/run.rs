//! One run of a sidecar: its process, if it has one, and what the supervisor knows about it.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pillion_protocol::{Announcement, Instance, ListenAddr, Token, announcement::LISTENER};
use tokio::time::Instant;

use crate::{
    health::exec::ExecProbe,
    listener::Listener,
    output::{Output, Read, Tail, journal::RunJournal},
    report::events::SidecarEvent,
    report::messages::StartDiagnostics,
    report::{
        exit_reports::{ExitReports, RunFile},
        hide_tokens::hide_tokens,
        history::Recorder,
        level::Level,
        log_file::{Hidden, LogFile},
        unfinished_run::Head,
    },
    spawn::launch::{LaunchError, Launched, launch},
    spawn::oom_kill::OomKills,
    spec::{DependencyAddress, ServerSource, Spec},
    state::{Awaits, Event},
    status::Exit,
    supervisor::prepared_http_stop::PreparedHttpStop,
    sys::{self, Group, Spawned, on_thread},
    transport::notify_socket::Notifications,
    transport::port_reservation::{PortClaim, PortReservation},
    wall_clock::now_ms,
};

/// The number of SIGKILL on every Unix (signal(7)).
const SIGKILL: i32 = 9;

/// The number of the last run in this program.
static LAST_RUN: AtomicU64 = AtomicU64::new(0);

/// One process lifetime of a sidecar.
pub(crate) struct Run {
    /// Distinguishes it from all other runs of this program.
    pub(crate) number: u64,
    name: String,
    recorder: Recorder,
    /// Its number among the runs of this sidecar, from 1; 0 before its process has started.
    pub(crate) ordinal: u64,
    pub(crate) process: Option<OwnedProcess>,
    pub(crate) pid: Option<u32>,
    /// The instance that the process received.
    pub(crate) instance: Option<Instance>,
    /// The token that the process received, if it is private.
    pub(crate) token: Option<Token>,
    /// The port that the process received.
    pub(crate) port: Option<PortClaim>,
    /// The command that checks whether it is ready, if it is checked so.
    pub(crate) exec: Option<ExecProbe>,
    /// What it tells by `sd_notify(3)`, if it is checked so.
    pub(crate) notifications: Option<Notifications>,
    /// The interval of its watchdog, if it has one.
    pub(crate) watchdog: Option<Duration>,
    /// The version from its health report.
    pub(crate) version: Option<String>,
    /// The last address that it announced besides the present one.
    pub(crate) announced_since: Option<ListenAddr>,
    pub(crate) tail: Tail,
    /// The HTTP request that asks this run to stop, once it is ready and if its program declares one.
    pub(crate) http_stop: Option<PreparedHttpStop>,
    pub(crate) diagnostics: StartDiagnostics,
    started: Instant,
    /// When it was started, in milliseconds since the Unix epoch.
    pub(crate) started_at: u64,
    /// How long after its start it was ready for the first time.
    pub(crate) ready_after: Option<Duration>,
    /// How many automatic restarts preceded it.
    pub(crate) restarts: u32,
    /// The out-of-memory kills before it. The driver counts them.
    pub(crate) oom_kills: Option<OomKills>,
    /// The largest resident set of the leader when it was looked at last, in bytes.
    pub(crate) peak_memory: Option<u64>,
    /// When the leader had ended, in milliseconds since the Unix epoch.
    pub(crate) ended_at: Option<u64>,
    /// The processes that still ran then, if the system tells.
    pub(crate) left: Vec<String>,
    /// The file from which the next start of the app learns of the end of this run, if this program dies.
    pub(crate) file: Option<RunFile>,
    /// Its token in the log file, which may be written again once this run is dropped.
    hidden: Option<Hidden>,
    noticed: Vec<NoticeKind>,
    unguarded: bool,
}

/// The process of a run.
pub(crate) struct OwnedProcess {
    pub(crate) group: Arc<Group>,
    pub(crate) output: Output,
    /// Whether the leader has ended.
    pub(crate) exited: bool,
}

/// The kinds of notices. Each is published once in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoticeKind {
    AnnouncedTwice,
    BlockedPort,
    /// Of the dependency of this name.
    DependencyMoved(String),
    EarlierServer,
    ListenerNotTaken,
    MemoryNearLimit,
    MemoryUnknown,
    Misannounced,
    NoHealthHandler,
    NoLoginShell,
    NotifiedByOther,
    ReportNotKept,
    Unannounced,
    UnprovedPort,
    Unguarded,
}

impl Run {
    /// A run without a process.
    pub(crate) fn none(spec: &Spec, recorder: Recorder) -> Self {
        Self {
            number: LAST_RUN.fetch_add(1, Ordering::Relaxed) + 1,
            name: spec.name.clone(),
            recorder,
            ordinal: 0,
            process: None,
            pid: None,
            instance: None,
            token: None,
            port: None,
            exec: None,
            notifications: None,
            watchdog: None,
            version: None,
            announced_since: None,
            tail: Tail::default(),
            http_stop: None,
            diagnostics: StartDiagnostics::default(),
            started: Instant::now(),
            started_at: now_ms(),
            ready_after: None,
            restarts: 0,
            oom_kills: None,
            peak_memory: None,
            ended_at: None,
            left: Vec::new(),
            file: None,
            hidden: None,
            noticed: Vec::new(),
            unguarded: false,
        }
    }

    /// Looks at the memory of the leader while it lives: at its end, the system may have counted that of this program (`sys::Used`).
    pub(crate) fn note_peak_memory(&mut self) {
        if self.process.as_ref().is_some_and(|process| !process.exited)
            && let Some(peak) = self.pid.and_then(sys::peak_memory)
        {
            self.peak_memory = Some(peak);
        }
    }

    /// Whether no guard could run. On Unix, only a guard can hand a listener over.
    pub(crate) fn is_unguarded(&self) -> bool {
        self.unguarded
    }

    /// Starts the process, unless the server is attached. Returns the run, and the event for the state machine. `previous_port` is the
    /// declared port of the run before, `dependencies` say where they are reached, `restarts` is the number of automatic restarts before it.
    pub(crate) fn launch(
        spec: &Spec,
        listener: Option<Listener>,
        previous_port: Option<NonZeroU16>,
        dependencies: Vec<DependencyAddress>,
        reports: &ExitReports,
        restarts: u32,
        recorder: Recorder,
    ) -> (Self, Event) {
        let mut run = Self::none(spec, recorder);
        let program = match &spec.source {
            ServerSource::Attach(port) => return (run, Event::Attached(ListenAddr::Tcp(*port))),
            ServerSource::Run(program) => program,
        };
        if let Err(invalid) = spec.validate() {
            return (run, Event::NotLaunched(invalid.to_string()));
        }
        let reserved = PortReservation::new(program.listen, previous_port, &spec.name);
        run.restarts = restarts;
        run.begin(reports);
        let for_guard = run.file.as_ref().and_then(|file| file.for_guard().ok());
        let journal = run.recorder.file().and_then(LogFile::begin_journal);
        if let Some(journal) = &journal {
            // Before the program runs: its guard may need the number at once.
            journal.set_run(run.recorder.runs() + 1);
        }
        let launched = reserved.map_err(LaunchError::from).and_then(|reserved| {
            launch(program, spec, listener, for_guard, journal.as_ref(), reserved, dependencies)
        });
        match launched {
            Ok(launched) => {
                run.begin_process(launched, journal);
                run.watchdog = spec.watchdog;
                let awaits = Awaits::of(&spec.ready_check, run.diagnostics.given_port);
                (run, Event::Launched(awaits))
            }
            Err(error) => {
                if let Some(file) = run.file.take() {
                    file.discard();
                }
                match error {
                    LaunchError::Mismatch(why) => (run, Event::WrongProgram(why)),
                    LaunchError::Failed(why) => (run, Event::NotLaunched(why)),
                }
            }
        }
    }

    /// Takes over the process that was just started.
    fn begin_process(&mut self, launched: Launched, journal: Option<RunJournal>) {
        let Launched { instance, token, spawned, port, exec, notify, without_login_shell } = launched;
        let Spawned { group, stdout, stderr, unguarded, limited } = spawned;
        if let Some(why) = without_login_shell {
            self.notice(
                NoticeKind::NoLoginShell,
                format!("{why}; the sidecar inherits the environment of this program instead"),
            );
        }
        self.unguarded = unguarded.is_some();
        if let Some(why) = unguarded {
            self.notice(
                NoticeKind::Unguarded,
                format!("no guard watches this sidecar: {why}; if this program is killed, the sidecar may survive it"),
            );
        }
        if let Some(why) = limited {
            self.notice(NoticeKind::Unguarded, format!("the guard cannot do all of its work: {why}"));
        }
        if let Some(token) = &token {
            self.recorder.record().add_token(token);
        }
        self.ordinal = self.recorder.begin_run();
        // Another run may have begun meanwhile.
        if let Some(journal) = &journal {
            journal.set_run(self.ordinal);
        }
        (self.instance, self.token) = (Some(instance), token);
        self.pid = Some(group.pid());
        self.begin_log();
        if let (Some(file), Some(pid)) = (&mut self.file, self.pid) {
            file.note(&format!("pid {pid} {}", self.ordinal));
        }
        self.notifications = notify.map(|socket| Notifications::new(socket, group.processes()));
        self.diagnostics.given_port = port.as_ref().map(PortClaim::port);
        (self.port, self.exec) = (port, exec.map(ExecProbe));
        self.process = Some(OwnedProcess {
            group: Arc::new(group),
            output: Output::new(stdout, stderr, journal.map(|journal| journal.streams)),
            exited: false,
        });
    }

    /// Begins the record of a run that is about to start.
    fn begin(&mut self, reports: &ExitReports) {
        let head = Head { sidecar: self.name.clone(), started_at: self.started_at, restarts: self.restarts };
        match reports.begin(&head, self.number) {
            Some(Ok(file)) => self.file = Some(file),
            Some(Err(error)) => self.notice(
                NoticeKind::ReportNotKept,
                format!("its exit report is kept only in memory: {error}"),
            ),
            None => {}
        }
    }

    /// Writes the start to the log file.
    fn begin_log(&mut self) {
        if let Some(log) = self.recorder.file() {
            self.hidden = self.token.clone().map(|token| log.hide(token));
            let pid = self.pid.unwrap_or_default();
            log.note(self.ordinal, Level::Info, format!("{} is starting as process {pid}", self.name));
        }
    }

    /// Records that it is ready, the first time.
    pub(crate) fn ready(&mut self) {
        if self.ready_after.is_none() {
            let after = self.started.elapsed();
            self.ready_after = Some(after);
            if let Some(file) = &mut self.file {
                file.note(&format!("ready {}", after.as_millis()));
            }
        }
    }

    /// Stores and publishes the output. Returns the announced addresses.
    pub(crate) fn absorb(&mut self, read: Read) -> Vec<ListenAddr> {
        self.tail.push(&read.lines);
        self.recorder.output(self.ordinal, read.lines, read.slot);
        if let Some(line) = read.unfinished {
            self.tail.set_unfinished(line.clone());
            self.recorder.unfinished(self.ordinal, line);
        }
        if let Some(near_miss) = read.near_miss {
            self.diagnostics.near_miss = Some(near_miss);
        }
        let mut addrs = Vec::new();
        for announcement in read.announcements {
            match announcement {
                Announcement::Address(addr) => addrs.push(addr),
                Announcement::Malformed(line) => self.misannounced(format!(
                    "it printed {line:?}, which is not a valid announcement: write a port from 1 to 65535 after BACKEND_PORT:, \
                     or {LISTENER} after BACKEND_SOCKET:, and nothing else"
                )),
                Announcement::Unfinished(line) => {
                    self.misannounced(format!("it printed {line:?} without the newline that completes it"));
                }
                // `Announcement` may gain forms: one that this version does not know is reported, not believed.
                unknown => self.misannounced(format!("it announced an address in an unknown form: {unknown:?}")),
            }
        }
        addrs
    }

    /// Records an invalid announcement, which may explain a failed start.
    pub(crate) fn misannounced(&mut self, note: String) {
        let note = self.without_token(note);
        self.diagnostics.misannounced = Some(note.clone());
        self.notice(NoticeKind::Misannounced, note);
    }

    /// Publishes a notice, once for each kind: a sidecar that repeats its mistake must not flood the readers.
    pub(crate) fn notice(&mut self, kind: NoticeKind, text: String) {
        if !self.noticed.contains(&kind) {
            let text = self.without_token(text);
            self.noticed.push(kind);
            tracing::warn!(sidecar = self.name, "{text}");
            self.recorder.publish(SidecarEvent::Notice(text));
        }
    }

    /// A sidecar may print its own token, and sentences quote what it printed: no file, notice or trace may contain it.
    pub(crate) fn without_token(&self, text: String) -> String {
        hide_tokens(text, &self.token)
    }

    /// Records where it listens, which may explain a start that takes too long.
    pub(crate) async fn look_where_it_listens(&mut self) {
        let Some(process) = &self.process else { return };
        let processes = process.group.processes();
        // Reading /proc blocks.
        self.diagnostics.listens = on_thread(move || processes.listening()).await.unwrap_or_default();
    }

    /// Records the end of the leader, and what else the system tells about it.
    pub(crate) fn exited(&mut self, exit: Exit, stopping: bool) {
        self.diagnostics.lived = Some(self.started.elapsed());
        if let Some(process) = &mut self.process {
            process.exited = true;
            self.ended_at = Some(now_ms());
            self.left = process.group.others();
            if exit.signal == Some(SIGKILL) {
                self.diagnostics.out_of_memory = self.oom_kills.as_ref().and_then(OomKills::explain);
            }
            if exit.is_success() && !stopping {
                self.diagnostics.left.clone_from(&self.left);
            }
        }
    }
}
