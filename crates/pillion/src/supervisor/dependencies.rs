//! Waits for what must be there before a launch, above all the dependencies, and for their restarts.

use std::{
    future::{self, Future},
    num::NonZeroU16,
    pin::Pin,
    task::Poll,
};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    report::{
        messages::WaitsFor,
        snapshot::{ReadyAnswer, Snapshot},
    },
    spawn::login_shell,
    spec::{DependencyAddress, Program, ReadyCheck},
    state::Event,
    status::Status,
    supervisor::{command::Command, lease::Lease},
    sys::{self, Cleanup, on_thread},
};

/// A sidecar that must be ready first.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    /// Whether its failure also releases the dependents.
    pub(crate) optional: bool,
    /// Whether its restart restarts the dependents.
    pub(crate) restart: bool,
    /// Where a use of it is reported, if it runs on demand.
    pub(crate) commands: Option<mpsc::WeakUnboundedSender<Command>>,
}

/// The wait before a launch.
#[derive(Debug)]
pub(crate) struct LaunchWait {
    /// What it waits for, from the last to the first.
    stages: Vec<Stage>,
}

/// One thing that a launch waits for.
#[derive(Debug)]
enum Stage {
    Dependencies(DependencyWait),
    /// Has a receiver as long as a driver has processes in whose place this sidecar starts.
    Predecessors(watch::Sender<bool>),
    LoginShell,
    /// Another program has its fixed port. The stage finds out whether that ends by itself.
    TakenPort(NonZeroU16),
    /// A guard stops the server that has this port.
    Cleanup(NonZeroU16, Cleanup),
}

/// The wait for all dependencies.
#[derive(Debug)]
struct DependencyWait {
    dependencies: Vec<Dependency>,
    /// The uses that are not counted yet.
    uncounted: Vec<oneshot::Receiver<()>>,
    /// The failure that was reported last.
    reported: Option<String>,
}

impl LaunchWait {
    /// `None` if there is nothing to wait for. `login_shell`: whether the program inherits the environment of the login shell. `taken`: its
    /// fixed port, if another program has it.
    pub(crate) fn new(
        dependencies: Vec<Dependency>,
        uncounted: Vec<oneshot::Receiver<()>>,
        predecessors: Option<watch::Sender<bool>>,
        login_shell: bool,
        taken: Option<NonZeroU16>,
    ) -> Option<Self> {
        let wait = DependencyWait { dependencies, uncounted, reported: None };
        let stages = [
            taken.map(Stage::TakenPort),
            login_shell.then_some(Stage::LoginShell),
            predecessors.map(Stage::Predecessors),
            (!wait.dependencies.is_empty()).then_some(Stage::Dependencies(wait)),
        ];
        let stages: Vec<_> = stages.into_iter().flatten().collect();
        (!stages.is_empty()).then_some(Self { stages })
    }

    /// What it waits for now.
    pub(crate) fn waits_for(&self) -> Option<WaitsFor> {
        Some(match self.stages.last()? {
            Stage::Dependencies(_) => WaitsFor::Dependencies,
            Stage::Predecessors(_) => WaitsFor::LastProcess,
            Stage::LoginShell => WaitsFor::LoginShell,
            Stage::TakenPort(_) => return None,
            Stage::Cleanup(port, _) => WaitsFor::EarlierServer(*port),
        })
    }

    /// Waits until the launch may begin, until a dependency has a failure that was not reported yet, or until it waits for something else
    /// (`None`). Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match self.stages.last_mut() {
            Some(Stage::Dependencies(wait)) => {
                if let Some(why) = wait.next().await {
                    return Some(Event::DependencyFailed(why));
                }
            }
            Some(Stage::Predecessors(processes)) => processes.closed().await,
            Some(Stage::LoginShell) => login_shell::wait().await,
            Some(Stage::TakenPort(port)) => {
                let port = *port;
                // Else the launch fails, and says which program has the port.
                if let Some(Some(cleanup)) = on_thread(move || sys::cleanup_on(port)).await {
                    self.stages.push(Stage::Cleanup(port, cleanup));
                    return None;
                }
            }
            Some(Stage::Cleanup(_, cleanup)) => cleanup.ended().await,
            None => {}
        }
        self.stages.pop();
        self.stages.is_empty().then_some(Event::DependenciesReady)
    }
}

impl DependencyWait {
    /// Waits until all are ready, or until one has a failure that was not reported yet. Cancel-safe.
    async fn next(&mut self) -> Option<String> {
        // Until then, a dependency that looks ready may be about to stop for lack of a use.
        while let Some(counted) = self.uncounted.last_mut() {
            // An error: it is down for good, and so is its snapshot.
            let _ = counted.await;
            self.uncounted.pop();
        }
        while let Some((snapshot, why)) = self.dependencies.iter_mut().find_map(Dependency::unready) {
            if why.is_some() && why != self.reported {
                self.reported.clone_from(&why);
                return why;
            }
            if snapshot.changed().await.is_err() {
                // Its supervisor is gone, so it can never become ready.
                future::pending::<()>().await;
            }
        }
        None
    }
}

/// The wait for the restart of a dependency that restarts its dependents.
pub(crate) struct DependencyRestart(Vec<Pin<Box<dyn Future<Output = String> + Send>>>);

impl DependencyRestart {
    /// Watches the runs that these dependencies have now. `None` if no dependency restarts its dependents.
    pub(crate) fn of(dependencies: &[Dependency]) -> Option<Self> {
        let watched = dependencies.iter().filter(|dependency| dependency.restart);
        let restarts: Vec<_> = watched.map(Dependency::restarted).collect();
        (!restarts.is_empty()).then_some(Self(restarts))
    }

    /// Waits until one is restarted or swapped, or moves to another address. Cancel-safe. It must not be called again afterwards.
    pub(crate) async fn next(&mut self) -> Event {
        let first = future::poll_fn(|context| {
            let mut polled = self.0.iter_mut().map(|restart| restart.as_mut().poll(context));
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        Event::DependencyRestarted(first.await)
    }
}

/// The wait until dependencies that do not restart their dependents listen elsewhere than the program was told.
pub(crate) struct DependencyMoves(Vec<Pin<Box<dyn Future<Output = DependencyMove> + Send>>>);

/// A dependency that listens elsewhere than the program was told at its start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DependencyMove {
    pub(crate) name: String,
    /// The placeholder that told it.
    pub(crate) placeholder: String,
    pub(crate) told: String,
    pub(crate) now: String,
}

impl DependencyMoves {
    /// Watches the dependencies whose addresses the program gets by placeholders. `None` if it gets none.
    pub(crate) fn of(dependencies: &[Dependency], program: &Program, check: &ReadyCheck) -> Option<Self> {
        let unwatched = dependencies.iter().filter(|dependency| !dependency.restart);
        let moves: Vec<_> = unwatched.filter_map(|dependency| dependency.moved(program, check)).collect();
        (!moves.is_empty()).then_some(Self(moves))
    }

    /// Waits until a dependency has moved. Reports each dependency at most once. Cancel-safe.
    pub(crate) async fn next(&mut self) -> DependencyMove {
        let (at, moved) = future::poll_fn(|context| {
            let mut polled =
                self.0.iter_mut().enumerate().map(|(at, moved)| (at, moved.as_mut().poll(context)));
            polled
                .find_map(|(at, polled)| match polled {
                    Poll::Ready(moved) => Some(Poll::Ready((at, moved))),
                    Poll::Pending => None,
                })
                .unwrap_or(Poll::Pending)
        })
        .await;
        drop(self.0.swap_remove(at));
        moved
    }
}

impl Dependency {
    /// Waits until it is up elsewhere than a placeholder of the program says now. `None` if none does.
    fn moved(
        &self,
        program: &Program,
        check: &ReadyCheck,
    ) -> Option<Pin<Box<dyn Future<Output = DependencyMove> + Send>>> {
        let (placeholder, told) = program.told(check, &self.address())?;
        let (mut snapshot, program, check) = (self.snapshot.clone(), program.clone(), check.clone());
        Some(Box::pin(async move {
            loop {
                if snapshot.changed().await.is_err() {
                    // Its supervisor is gone, so it never moves.
                    future::pending::<()>().await;
                }
                let (name, now) = {
                    let known = snapshot.borrow_and_update();
                    if !matches!(known.answer, ReadyAnswer::Up(_)) {
                        continue;
                    }
                    let address = DependencyAddress::of(&known.status);
                    (address.name.clone(), program.told(&check, &address))
                };
                if let Some((_, now)) = now
                    && now != told
                {
                    return DependencyMove { name, placeholder, told, now };
                }
            }
        }))
    }

    /// Waits until its present run is not the current one any more, and a next one runs or will run by itself. Returns its name.
    ///
    /// A dependency that stays down is not restarted, so its dependents go on, as they do without this wait.
    fn restarted(&self) -> Pin<Box<dyn Future<Output = String> + Send>> {
        let mut snapshot = self.snapshot.clone();
        let (run, url) = {
            let known = snapshot.borrow_and_update();
            (known.run, known.status.url.clone())
        };
        Box::pin(async move {
            let changed = snapshot.wait_for(|now| match &now.answer {
                ReadyAnswer::Pending => true,
                ReadyAnswer::Up(_) => {
                    // A dependency that was ready without an address may learn it later.
                    now.run != run || (url.is_some() && now.status.url != url)
                }
                ReadyAnswer::Down(_) | ReadyAnswer::Idle => false,
            });
            let name = changed.await.ok().map(|now| now.status.sidecar.clone());
            match name {
                Some(name) => name,
                // Its supervisor is gone, so it is never restarted.
                None => future::pending().await,
            }
        })
    }

    /// Begins a use of it, if it runs on demand, as [`Lease::begin`] does.
    pub(crate) fn begin_use(&self) -> Option<(Lease, oneshot::Receiver<()>)> {
        Some(Lease::begin(&self.commands.as_ref()?.upgrade()?))
    }

    /// Where it is reached now.
    pub(crate) fn address(&self) -> DependencyAddress {
        DependencyAddress::of(&self.snapshot.borrow().status)
    }

    /// The snapshot of a dependency that is not ready, and its failure if it has one.
    fn unready(&mut self) -> Option<(&mut watch::Receiver<Snapshot>, Option<String>)> {
        let failure = match &self.snapshot.borrow_and_update().answer {
            ReadyAnswer::Up(_) => return None,
            ReadyAnswer::Down(_) if self.optional => return None,
            ReadyAnswer::Down(failure) => Some(failure.message.clone()),
            ReadyAnswer::Pending | ReadyAnswer::Idle => None,
        };
        Some((&mut self.snapshot, failure))
    }
}

impl DependencyAddress {
    fn of(status: &Status) -> Self {
        Self { name: status.sidecar.clone(), port: status.port, url: status.url.clone() }
    }
}
