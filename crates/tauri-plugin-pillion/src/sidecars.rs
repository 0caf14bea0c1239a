//! The app's sidecars, by name.

use std::{
    env,
    error::Error,
    sync::{Arc, Once, mpsc},
    thread,
};

use pillion::{Failure, FailureKind, Fleet, Spec, Supervisor};
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::JoinSet,
};

use crate::{
    config::{Config, ConfigError},
    rebuilt::{self, Program},
    resolve::{self, Found},
};

/// The supervisors of the sidecars that `tauri.conf.json` declares. Clones are handles to the same ones.
#[derive(Debug, Clone)]
pub struct Sidecars(Arc<Supervised>);

#[derive(Debug)]
struct Supervised {
    fleet: Fleet,
    runtime: Handle,
    /// Keeps the thread of the runtime alive.
    _thread: oneshot::Sender<()>,
    closed: Once,
}

impl Sidecars {
    /// Starts every declared sidecar in the background, each after those that it depends on.
    pub(crate) fn start(config: Option<&Config>, app: &tauri::Config) -> Result<Self, Box<dyn Error>> {
        let config = config.ok_or(ConfigError::Missing)?;
        let dev = tauri::is_dev();
        let origins = resolve::origins(app, dev);
        let development = dev || cfg!(debug_assertions);
        let attach = development.then(|| env::var_os(resolve::ATTACH)).flatten();
        // A link to the app must not make us look for the sidecar beside the link.
        let own = tauri::utils::platform::current_exe()?;
        let folder = own.parent().ok_or("the app's own executable has no folder")?;
        let (mut specs, mut programs) = (Vec::new(), Vec::new());
        for (name, sidecar) in &config.sidecars {
            let spec = match resolve::find(folder, sidecar.program(name)?, attach.as_deref())? {
                Found::Program(program) => {
                    if development {
                        programs.push((name.clone(), Program::new(program.clone())));
                    }
                    let program = pillion::Program::new(program).allowed_origins(&origins);
                    Spec::run(name, sidecar.configure(program))
                }
                Found::Server(port) => Spec::attach(name, port),
            };
            specs.push(sidecar.refine(spec, name)?);
        }
        // Only now that every declaration makes sense: nothing is to be cleaned up when one does not. The fleet checks how
        // they depend on each other before it starts the first.
        Ok(Self(Arc::new(supervise(specs, programs)?)))
    }

    /// The sidecar called `name`.
    ///
    /// # Errors
    /// [`FailureKind::UnknownSidecar`] when none is declared by that name.
    pub fn sidecar(&self, name: &str) -> Result<&Supervisor, Failure> {
        let Supervised { fleet, .. } = &*self.0;
        fleet.get(name).ok_or_else(|| {
            let declared = fleet.iter().map(Supervisor::name).collect::<Vec<_>>().join(", ");
            let message = format!("no sidecar {name:?} in tauri.conf.json; declared: {declared}");
            Failure::new(FailureKind::UnknownSidecar, name, message)
        })
    }

    /// Stops all sidecars for good, those that depend on others before these and otherwise at the same time, each within its
    /// own grace period, and returns when nothing is left: at the latest five seconds after the grace periods of the
    /// longest such chain. Every later start is refused, and nothing is restarted meanwhile.
    ///
    /// The plugin does so itself when the app exits. It is for ends that Tauri does not see, such as
    /// [`std::process::exit`]. It blocks, on whichever thread, also within an async task; of several callers one does
    /// the work, and the others wait for it.
    pub fn close(&self) {
        let Supervised { fleet, runtime, closed, .. } = &*self.0;
        closed.call_once(|| {
            let (told, outcomes) = mpsc::channel();
            let fleet = fleet.clone();
            runtime.spawn(async move { told.send(fleet.close().await) });
            for (sidecar, outcome) in outcomes.into_iter().flatten() {
                tracing::info!(sidecar, ?outcome, "closed");
            }
        });
    }
}

/// Starts the sidecars, and follows the builds of those `programs`, on a thread of their own, which ends when nobody can ask for them and nothing of them is left.
///
/// Not on Tauri's runtime, which the app can bring to a halt: `AppHandle::restart` from an async command never gives its
/// worker back, and on a machine with one core there is no other. The exit would wait for a stop that nobody carries out.
fn supervise(specs: Vec<Spec>, programs: Vec<(String, Program)>) -> Result<Supervised, Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let fleet = {
        let _context = runtime.enter();
        Fleet::start(specs)?
    };
    let watches: Vec<_> = fleet.iter().map(Supervisor::watch).collect();
    let follow =
        |(name, program): (String, Program)| Some(rebuilt::follow(fleet.get(&name)?.clone(), program));
    let followers: Vec<_> = programs.into_iter().filter_map(follow).collect();
    let (thread, dropped) = oneshot::channel();
    thread::Builder::new().name("pillion".to_owned()).spawn(move || {
        runtime.block_on(async {
            let followers: JoinSet<_> = followers.into_iter().collect();
            let _ = dropped.await;
            // They have handles, which would keep the sidecars for ever.
            drop(followers);
            for mut watch in watches {
                while watch.next().await.is_some() {}
            }
        });
    })?;
    Ok(Supervised { fleet, runtime: handle, _thread: thread, closed: Once::new() })
}
