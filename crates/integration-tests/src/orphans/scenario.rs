//! One death, from the start of the app to the end of the last process.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{Death, Kind, Programs, Through, host::Host};
use crate::{Contact, Living, Mark, PATIENCE, Witness};

/// When the app dies.
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
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
        }
    }
}

/// What is to happen.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What plays the app.
    pub through: Through,
    /// How it dies.
    pub death: Death,
    /// When it dies.
    pub moment: Moment,
    /// The sidecar that it has.
    pub kind: Kind,
    /// How long the sidecar has to end by itself.
    pub grace: Duration,
    /// Kill as soon as this much time has passed since the app was started, whatever it has come to; for soaks.
    pub hurry: Option<Duration>,
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { through, death, moment, kind, hurry, .. } = self;
        write!(f, "{death:?} of {through:?} while {moment:?}, {kind:?}")?;
        hurry.map_or(Ok(()), |hurry| write!(f, ", after {hurry:?}"))
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Who was alive when the time was up. They have been killed since.
    pub survivors: Vec<Living>,
    /// Whether the sidecar has ended by itself, when it was asked to; nothing if nobody could expect it to.
    pub graceful: Option<bool>,
    /// The time from the app's death to the end of the last process.
    pub took: Duration,
}

impl Scenario {
    /// How long after the app's death something may be alive.
    pub const LIMIT: Duration = Duration::from_secs(5);

    /// A death of a plain program whose sidecar is ready.
    #[must_use]
    pub fn new(death: Death, kind: Kind) -> Self {
        // Time enough to say goodbye on a busy machine.
        let grace = Duration::from_secs(1);
        Self { through: Through::Crate, death, moment: Moment::Ready, kind, grace, hurry: None }
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// The scene could not be set, or the app does not die.
    pub async fn run(self, programs: &Programs) -> io::Result<Outcome> {
        let (mark, witness) = (Mark::new()?, Witness::new().await);
        let sidecar = programs.sidecar.to_string_lossy();
        let command = self.kind.command(&sidecar, witness.port(), self.moment != Moment::Starting);
        let mut host = Host::start(programs, &self, &mark, witness.port(), command)?;
        let played = self.play(&mut host, &mark, &witness).await;
        if played.is_err() {
            sweep(&mark);
        }
        played
    }

    async fn play(self, host: &mut Host, mark: &Mark, witness: &Witness) -> io::Result<Outcome> {
        let mut cast = Cast::default();
        let patience = self.hurry.unwrap_or(PATIENCE / 2);
        let complete = timeout(patience, cast.gather(self, witness)).await.is_ok();
        if !complete && self.hurry.is_none() {
            return Err(io::Error::other(format!("the scene is not set; there are only {:?}", cast.ups)));
        }
        if complete {
            self.prepare(mark, &mut cast).await?;
        }
        // A host that was not yet waited for dies from outside; else it may do so itself.
        if let Some(contact) = &mut cast.host {
            contact.let_go().await;
        }
        host.kill(self.death, mark).await?;
        let spared = if self.death == Death::Guard {
            Some(host.pid.as_raw_nonzero().get().unsigned_abs())
        } else {
            timeout(PATIENCE / 2, host.child.wait())
                .await
                .map_err(|_| io::Error::other("the app does not die"))??;
            None
        };
        let died = Instant::now();
        let survivors = extinct(mark, died + Self::LIMIT, spared)?;
        let took = died.elapsed();
        if spared.is_some() {
            host.child.kill().await?;
        }
        sweep(mark);
        // A guard that is held from its work for the whole grace period has no time to give.
        let held = self.death == Death::StoppedGuard && self.moment == Moment::Stopping;
        let expected = complete && self.kind.says_goodbye() && self.death.asks() && !held;
        let goodbye = cast.goodbye || said_goodbye(witness).await?;
        Ok(Outcome { survivors, graceful: expected.then_some(goodbye), took })
    }

    /// Brings the sidecar, or its guard, into the state that they are to be in.
    async fn prepare(self, mark: &Mark, cast: &mut Cast) -> io::Result<()> {
        match self.kind {
            Kind::Stopped if self.moment != Moment::Stopping => {
                for process in mark.alive()?.iter().filter(|process| process.runs("fake-sidecar")) {
                    process.signal(Signal::STOP)?;
                }
            }
            Kind::LeaderGone => {
                // The leader waits for it, and the deaf child does not listen.
                for mut contact in cast.ups.drain(..) {
                    contact.let_go().await;
                }
            }
            _ => {}
        }
        let guards = mark.alive()?.into_iter().filter(Living::is_guard);
        let signal = match self.death {
            Death::Guard => Signal::KILL,
            Death::StoppedGuard => Signal::STOP,
            _ => return Ok(()),
        };
        for guard in guards {
            // Its work may be done, where the sidecar was stopping or has ended by itself.
            let _ = guard.signal(signal);
        }
        Ok(())
    }
}

/// Who has told the test that they are there.
#[derive(Default)]
struct Cast {
    ups: Vec<Contact>,
    host: Option<Contact>,
    goodbye: bool,
}

impl Cast {
    /// Waits until all are there.
    async fn gather(&mut self, scenario: Scenario, witness: &Witness) {
        let hosts = scenario.through != Through::Command;
        while self.ups.len() < scenario.kind.ups() || (hosts && self.host.is_none()) {
            match witness.heard().await {
                Some(contact) if contact.text == "host" => self.host = Some(contact),
                Some(contact) if contact.text == "up" => self.ups.push(contact),
                Some(_) => self.goodbye = true,
                None => {}
            }
        }
        if let (Some(host), Moment::Stopping) = (&mut self.host, scenario.moment) {
            host.let_go().await;
            host.more().await;
        }
    }
}

/// Whether somebody has said goodbye: all who ever will are dead, and their words lie in the listener's queue.
async fn said_goodbye(witness: &Witness) -> io::Result<bool> {
    let mut last = TcpStream::connect(("127.0.0.1", witness.port())).await?;
    last.write_all(b"end\n").await?;
    let mut goodbye = false;
    loop {
        match witness.heard().await {
            Some(contact) if contact.text == "end" => return Ok(goodbye),
            Some(contact) => goodbye |= contact.text == "bye",
            None => {}
        }
    }
}

/// Waits until nobody is left but who is spared; those who are left at the deadline.
fn extinct(mark: &Mark, deadline: Instant, spared: Option<u32>) -> io::Result<Vec<Living>> {
    // A process shows no environment for a moment of execve(2): nobody is left when nobody was, twice.
    let mut empty = 0;
    while empty < 2 {
        let mut alive = mark.alive()?;
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

/// Kills whoever is left, so that a failure does not become the next one's.
fn sweep(mark: &Mark) {
    for _ in 0..1000 {
        match mark.alive() {
            Ok(alive) if !alive.is_empty() => {
                for process in alive {
                    let _ = process.signal(Signal::KILL);
                }
            }
            _ => return,
        }
    }
}
