//! One death, from the start of the app to the end of the last process.

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::spawn_blocking,
    time::{timeout, timeout_at},
};

use super::{Death, HostKind, Programs, SidecarKind, host::RunningHost};
use crate::{LiveProcess, ReportServer, Reporter, TEST_TIMEOUT, TestMarker};

/// The state of the sidecar at the app's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The sidecar has started, and never announces itself.
    Starting,
    /// The sidecar is ready.
    Ready,
    /// The app has asked the sidecar to stop.
    Stopping,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

/// The choices for one death.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The program that plays the app.
    pub host: HostKind,
    /// How it dies.
    pub death: Death,
    /// When it dies.
    pub moment: Moment,
    /// Its sidecar.
    pub kind: SidecarKind,
    /// The grace period of the sidecar's stop.
    pub grace: Duration,
    /// Kills the app this long after its start, whatever it is doing then. For soaks.
    pub kill_after: Option<Duration>,
    /// How long after the app's death a process of the sidecar may be alive. A machine that is busy needs long to end them.
    pub limit: Duration,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, death, moment, kind, kill_after, .. } = self;
        write!(f, "{death:?} of {host:?} while {moment:?}, {kind:?}")?;
        kill_after.map_or(Ok(()), |delay| write!(f, ", after {delay:?}"))
    }
}

/// What remained after the death.
#[derive(Debug)]
pub struct Outcome {
    /// The command lines of the processes that were alive at the limit. They have been killed since.
    pub survivors: Vec<String>,
    /// Whether the sidecar said goodbye. `None` if it cannot be expected to.
    pub graceful: Option<bool>,
    /// The time from the app's death to the end of the last process.
    pub took: Duration,
}

impl Scenario {
    /// The limit where survivors are expected, or are what is counted.
    pub const SHORT_LIMIT: Duration = Duration::from_secs(5);
    /// The grace period of a sidecar of which a part ends by force alone, after the goodbye of the rest.
    const GOODBYE: Duration = Duration::from_millis(2500);

    /// A death of a plain program whose sidecar is ready.
    ///
    /// A sidecar that ends by itself never reaches the end of its grace period, which is therefore longer than the limit.
    #[must_use]
    pub fn new(death: Death, kind: SidecarKind) -> Self {
        let grace = match (kind.stops_gracefully(), kind.needs_force()) {
            (true, false) => TEST_TIMEOUT,
            (true, true) => Self::GOODBYE,
            (false, _) => Duration::from_millis(200),
        };
        Self {
            host: HostKind::Crate,
            death,
            moment: Moment::Ready,
            kind,
            grace,
            kill_after: None,
            limit: TEST_TIMEOUT / 2,
        }
    }

    /// Plays the scenario.
    ///
    /// # Errors
    /// A process did not start or report, or the app does not die.
    pub async fn run(mut self, programs: &Programs) -> io::Result<Outcome> {
        if self.freezes_a_stop() {
            // The frozen guard reports nothing, so that the app waits until half of the grace period is over.
            self.grace = self.grace.min(Self::GOODBYE);
        }
        if self.death != Death::TIME_OUT {
            return self.play(programs, Duration::MAX).await?.ok_or_else(|| unreachable_start(self));
        }
        // The start must not expire before all processes have reported. How soon they do depends on the machine.
        for seconds in [2, 8, 32] {
            if let Some(outcome) = self.play(programs, Duration::from_secs(seconds)).await? {
                return Ok(outcome);
            }
        }
        Err(unreachable_start(self))
    }

    /// The name of the moment in [`dying_host`](crate::dying_host).
    ///
    /// A guard that is killed before the app knows the sidecar's process has started nothing for the app, which lets another guard start the
    /// sidecar. That one would look like a survivor.
    pub(super) fn moment_of_host(self) -> &'static str {
        match (self.moment, self.death) {
            (Moment::Starting, Death::GuardKilled) => "started",
            (moment, _) => moment.word(),
        }
    }

    /// Whether the guard is frozen while it should stop the sidecar. Such a guard cannot give the sidecar its grace period.
    fn freezes_a_stop(self) -> bool {
        self.death == Death::GuardStopped && self.moment == Moment::Stopping
    }

    /// Plays the scenario once. Returns `None` if the sidecar's processes had not all reported within `ready_timeout`.
    async fn play(self, programs: &Programs, ready_timeout: Duration) -> io::Result<Option<Outcome>> {
        let (marker, reports) = (Arc::new(TestMarker::new()?), ReportServer::new().await);
        // Without a guard nothing catches the moving process, and PID 1 would have to reap each of its generations.
        let hops = if self.host == HostKind::Baseline { 20 } else { u32::MAX };
        let announces = self.moment != Moment::Starting;
        let command = self.kind.command(programs, reports.port(), announces, hops)?;
        // Dropped after the host, which could still start a process.
        let _remaining = KillRemaining(Arc::clone(&marker));
        let limit = ready_timeout.min(Duration::from_secs(3600));
        let mut host = RunningHost::start(programs, &self, &marker, reports.port(), command, limit)?;
        let mut participants = Participants::default();
        let limit = self.kill_after.unwrap_or_else(|| ready_timeout.min(TEST_TIMEOUT / 2));
        let complete = timeout(limit, participants.gather(self, &reports)).await.is_ok();
        if !complete && self.kill_after.is_none() {
            return Ok(None);
        }
        if complete {
            self.prepare(&marker, host.pid, &mut participants).await?;
        }
        // Lets the host end itself. A host that is killed from outside is killed before it is reaped.
        if let Some(reporter) = &mut participants.host {
            reporter.resume_if_alive().await;
        }
        host.kill(self.death, &marker).await?;
        let spared = if self.death == Death::GuardKilled {
            Some(host.pid.as_raw_nonzero().get().unsigned_abs())
        } else {
            timeout(TEST_TIMEOUT / 2, host.child.wait())
                .await
                .map_err(|_| io::Error::other("the app does not die"))??;
            None
        };
        let died = Instant::now();
        // On a thread of its own: other scenarios on this runtime must notice the death of their app in time.
        let shared = Arc::clone(&marker);
        let alive = spawn_blocking(move || wait_until_dead(&shared, died + self.limit, spared)).await??;
        let mut survivors: Vec<_> = alive.iter().map(|process| format!("{process:?}")).collect();
        participants.take_pending_reports(&reports).await?;
        let limit = (died + self.limit).into();
        if survivors.is_empty() && timeout_at(limit, participants.wait_closed()).await.is_err() {
            survivors.push("a process without the marker, which holds its connection to the test".to_owned());
        }
        let took = died.elapsed();
        if spared.is_some() {
            host.child.kill().await?;
        }
        let expected = complete
            && self.kind.stops_gracefully()
            && self.death.asks_sidecar_to_stop()
            && !self.freezes_a_stop();
        Ok(Some(Outcome { survivors, graceful: expected.then_some(participants.goodbye), took }))
    }

    /// Brings the sidecar, or its guard, into the state that the scenario asks for.
    async fn prepare(
        self,
        marker: &TestMarker,
        host: Pid,
        participants: &mut Participants,
    ) -> io::Result<()> {
        match self.kind {
            SidecarKind::Stopped if self.moment != Moment::Stopping => {
                for process in marker.alive()?.iter().filter(|process| process.runs("fake-sidecar")) {
                    process.signal(Signal::STOP)?;
                }
            }
            SidecarKind::LeaderExited => {
                // The leader waits for this, and its child reads nothing.
                for reporter in &mut participants.ups {
                    reporter.resume_if_alive().await;
                }
            }
            _ => {}
        }
        let signal = match self.death {
            Death::GuardKilled => Signal::KILL,
            Death::GuardStopped | Death::HostKilledGuardStopped => Signal::STOP,
            _ => return Ok(()),
        };
        for guard in guards(marker, host)? {
            // It may have finished, if the sidecar was stopping or has ended by itself.
            let _ = guard.signal(signal);
        }
        Ok(())
    }
}

fn unreachable_start(scenario: Scenario) -> io::Error {
    io::Error::other(format!("not all processes of the sidecar have reported ({:?})", scenario.kind))
}

/// The guards. If a process of this host is about to execute one, waits until it has.
pub(super) fn guards(marker: &TestMarker, host: Pid) -> io::Result<Vec<LiveProcess>> {
    let host = host.as_raw_nonzero().get().unsigned_abs();
    loop {
        let alive = marker.alive()?;
        let program = alive.iter().find(|process| process.pid == host).map(|host| &host.program);
        let becomes_guard = |process: &LiveProcess| {
            process.pid != host && Some(&process.program) == program && !process.is_guard()
        };
        if !alive.iter().any(becomes_guard) {
            return Ok(alive.into_iter().filter(LiveProcess::is_guard).collect());
        }
        std::thread::yield_now();
    }
}

/// The processes that have reported to the test.
#[derive(Default)]
struct Participants {
    ups: Vec<Reporter>,
    host: Option<Reporter>,
    goodbye: bool,
}

impl Participants {
    /// Waits until all processes have reported.
    async fn gather(&mut self, scenario: Scenario, reports: &ReportServer) {
        let host_reports = scenario.host != HostKind::Command;
        while self.ups.len() < scenario.kind.up_reports() || (host_reports && self.host.is_none()) {
            if let Some(reporter) = reports.next_complete().await {
                self.add(reporter);
            }
        }
        if let (Some(host), Moment::Stopping) = (&mut self.host, scenario.moment) {
            host.resume_if_alive().await;
            host.next_line().await;
        }
    }

    fn add(&mut self, reporter: Reporter) {
        match reporter.text.as_str() {
            "host" => self.host = Some(reporter),
            "up" => self.ups.push(reporter),
            _ => self.goodbye = true,
        }
    }

    /// Takes the reports that are still in the queue. All processes are dead by now, so that no new one is added.
    async fn take_pending_reports(&mut self, reports: &ReportServer) -> io::Result<()> {
        let mut last = TcpStream::connect(("127.0.0.1", reports.port())).await?;
        last.write_all(b"end\n").await?;
        loop {
            match reports.next_complete().await {
                Some(reporter) if reporter.text == "end" => return Ok(()),
                Some(reporter) => self.add(reporter),
                None => {}
            }
        }
    }

    /// Waits until all processes that have reported are dead. A process that passes its connection to the next one, again
    /// and again, can be missing from each list of processes; its connection stays open.
    async fn wait_closed(&mut self) {
        for reporter in &mut self.ups {
            reporter.wait_closed().await;
        }
    }
}

/// Waits until no marked process is alive, except for the spared one. Returns the processes that are alive at the deadline.
fn wait_until_dead(
    marker: &TestMarker,
    deadline: Instant,
    spared: Option<u32>,
) -> io::Result<Vec<LiveProcess>> {
    // A process has no environment for a moment of execve(2). The list must therefore be empty twice.
    let mut empty = 0;
    while empty < 2 {
        let mut alive = marker.alive()?;
        alive.retain(|process| Some(process.pid) != spared);
        empty = if alive.is_empty() { empty + 1 } else { 0 };
        if !alive.iter().all(|process| process.ends_before(deadline)) {
            alive.retain(|process| !process.ends_before(Instant::now()));
            return Ok(alive);
        }
        if !alive.is_empty() && Instant::now() >= deadline {
            return Ok(alive);
        }
    }
    Ok(Vec::new())
}

/// Kills the remaining processes on drop. A failed scenario then does not disturb the next one, and an interrupted soak
/// leaves no process behind.
struct KillRemaining(Arc<TestMarker>);

impl Drop for KillRemaining {
    fn drop(&mut self) {
        for _ in 0..1000 {
            match self.0.alive() {
                Ok(alive) if !alive.is_empty() => {
                    for process in alive {
                        let _ = process.signal(Signal::KILL);
                    }
                }
                _ => return,
            }
        }
    }
}
