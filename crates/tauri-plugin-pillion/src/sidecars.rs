//! The app's sidecars, by name.

use std::{
    error::Error,
    sync::{Arc, Mutex, Once},
    thread::{self, ThreadId},
    time::Duration,
};

use pillion::{Diagnosis, Failure, FailureKind, Fleet, Supervisor, TerminalOutput};
use serde_json::Value;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::JoinSet,
};

use crate::desktop::{
    control::{Control, ControlSocket},
    dev_reload,
    lock::lock,
    outbox::Outbox,
    resolve::Resolved,
    task::task,
};

/// How long a slow terminal may delay the end of the app, which waits until the last output is shown.
const SHOW_LIMIT: Duration = Duration::from_millis(300);

/// The supervisors of the app's sidecars. [`PillionExt::pillion`](crate::PillionExt::pillion) returns
/// it. Clones are handles to the same sidecars.
///
/// ```no_run
/// use tauri_plugin_pillion::{PillionExt as _, pillion::Failure};
///
/// /// Restarts the backend, and returns its new address.
/// #[tauri::command]
/// async fn restart_backend(app: tauri::AppHandle) -> Result<Option<String>, Failure> {
///     let backend = app.pillion().sidecar("backend")?;
///     Ok(backend.restart().await?.url)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Sidecars(Arc<Supervised>);

#[derive(Debug)]
struct Supervised {
    fleet: Fleet,
    /// What a diagnosis says of the app.
    about: Value,
    runtime: Handle,
    /// Dropping it ends the runtime's thread.
    _thread: oneshot::Sender<()>,
    close: Once,
    /// The control socket, until the sidecars are closed.
    control: Mutex<Option<ControlSocket>>,
    /// What shows the output on stderr.
    terminal: Option<TerminalOutput>,
    outbox: Arc<Outbox>,
    /// The thread of the event loop. Tauri sets plugins up on it.
    main_thread: ThreadId,
}

impl Sidecars {
    /// Starts the sidecars in the background, each after its dependencies.
    pub(crate) fn start(
        sidecars: Vec<Resolved>,
        about: Value,
        control: Option<Control>,
        terminal: bool,
    ) -> Result<Self, Box<dyn Error>> {
        // Nothing starts before every declaration is valid, so that an error leaves nothing to clean up. The fleet checks the
        // dependencies before it starts the first sidecar.
        Ok(Self(Arc::new(supervise(sidecars, about, control, terminal)?)))
    }

    /// The supervisor of the sidecar called `name`.
    ///
    /// # Errors
    /// [`FailureKind::UnknownSidecar`] if neither `tauri.conf.json` nor the app's code declares a sidecar of that name.
    pub fn sidecar(&self, name: &str) -> Result<&Supervisor, Failure> {
        self.find(name, |_| true)
    }

    /// As [`sidecar`](Self::sidecar), with an error that lists only the `visible` ones of the declared sidecars.
    pub(crate) fn find(&self, name: &str, visible: impl Fn(&str) -> bool) -> Result<&Supervisor, Failure> {
        let Supervised { fleet, .. } = &*self.0;
        fleet.get(name).ok_or_else(|| {
            let declared: Vec<_> = fleet.iter().map(Supervisor::name).filter(|name| visible(name)).collect();
            let declared = if declared.is_empty() {
                String::new()
            } else {
                format!("; declared: {}", declared.join(", "))
            };
            let message =
                format!("neither tauri.conf.json nor the app's code declares the sidecar {name:?}{declared}");
            Failure::new(FailureKind::UnknownSidecar, name, message)
        })
    }

    /// Stops all sidecars for good, and returns when none of their processes is left. Later starts are refused.
    ///
    /// The sidecars stop in steps: those with the longest chain of dependencies first, those without dependencies last. Each has its own
    /// grace period. Each step takes at most its longest grace period; a process that a kill does not end adds up to 15 seconds, and
    /// files that cannot be written up to 2 seconds.
    ///
    /// The plugin calls this function when the app exits. Call it yourself before an exit that Tauri does not see, such as
    /// [`std::process::exit`]. It blocks the calling thread, also within an async task. Several callers wait for the same end.
    ///
    /// Pages that watch a sidecar receive its state `stopping` meanwhile, even if the main thread waits here. A window is not
    /// redrawn while the main thread waits. To let a page show the state, call this function on another thread before
    /// [`AppHandle::exit`](tauri::AppHandle::exit).
    pub fn close(&self) {
        let Supervised { fleet, runtime, close, control, terminal, outbox, main_thread, .. } = &*self.0;
        close.call_once(|| {
            let (fleet, stopped) = (fleet.clone(), SetStoppedOnDrop(Arc::clone(outbox)));
            let control = lock(control).take();
            runtime.spawn(task(async move {
                let _stopped = stopped;
                // Until the sidecars are down, other programs see how they stop.
                let _control = control;
                for (sidecar, outcome) in fleet.close().await {
                    tracing::info!(sidecar, ?outcome, "closed");
                }
            }));
        });
        if thread::current().id() == *main_thread {
            outbox.deliver_until_stopped();
        } else {
            outbox.wait_until_stopped();
        }
        if let Some(terminal) = terminal {
            terminal.finish(SHOW_LIMIT);
        }
    }

    /// Stops all sidecars, and then runs `install`, which replaces the app's files. If it fails, the sidecars that ran before start
    /// again, and also if the future is dropped. If it succeeds, they stay stopped until the app starts again. For
    /// [tauri-plugin-updater](https://v2.tauri.app/plugin/updater/); `docs/updates.md` in the repository says what happens on each system.
    ///
    /// # Errors
    /// Those of `install`.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime, such as Tauri's.
    ///
    /// ```no_run
    /// use tauri_plugin_pillion::PillionExt as _;
    ///
    /// async fn update(app: &tauri::AppHandle, install: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    ///     app.pillion().stop_while(install).await?;
    ///     app.restart()
    /// }
    /// ```
    pub async fn stop_while<T, E>(&self, install: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.0.fleet.stop_while(install).await
    }

    /// All that is known of the sidecars, their output included, without secrets: for a person who looks for a fault. Its `zip` packs it, and
    /// blocks meanwhile. `docs/diagnostics.md` in the repository says what it has, and what it leaves out. Cancel-safe.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime, such as Tauri's.
    ///
    /// ```no_run
    /// use tauri_plugin_pillion::PillionExt as _;
    ///
    /// async fn report(app: &tauri::AppHandle, path: &std::path::Path) -> std::io::Result<()> {
    ///     let mut diagnosis = app.pillion().diagnose().await;
    ///     diagnosis.add("notes.txt", "It began after the update.");
    ///     std::fs::write(path, diagnosis.zip()?)
    /// }
    /// ```
    pub async fn diagnose(&self) -> Diagnosis {
        self.diagnose_selected(|_| true).await
    }

    /// As [`diagnose`](Self::diagnose), with the sidecars alone whose names `selected` accepts.
    pub(crate) async fn diagnose_selected(&self, selected: impl Fn(&str) -> bool) -> Diagnosis {
        let mut diagnosis = self.0.fleet.diagnose_selected(selected).await;
        diagnosis.add_json("app.json", &self.0.about);
        diagnosis
    }

    /// All sidecars, in the order of their declaration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Supervisor> {
        self.0.fleet.iter()
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }
}

/// Ends the waits for the sidecars' end when it is dropped, also with a future that never runs because its runtime has ended.
struct SetStoppedOnDrop(Arc<Outbox>);

impl Drop for SetStoppedOnDrop {
    fn drop(&mut self) {
        self.0.set_sidecars_stopped();
    }
}

/// Starts the sidecars, and starts those again whose watched files change, on a thread of their own. The thread ends when the last
/// handle is dropped and no process of theirs is left.
///
/// Tauri's runtime would not do, because the app can block it: `AppHandle::restart` in an async command never gives its worker
/// back, and on a machine with one core there is only one worker. The exit would then wait for a stop that no thread can run.
fn supervise(
    sidecars: Vec<Resolved>,
    about: Value,
    control: Option<Control>,
    terminal: bool,
) -> Result<Supervised, Box<dyn Error>> {
    let (specs, watched): (Vec<_>, Vec<_>) =
        sidecars.into_iter().map(|Resolved { spec, watched }| (spec, watched)).unzip();
    let names: Vec<_> = specs.iter().map(|spec| spec.name().to_owned()).collect();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (fleet, control) = {
        let _context = runtime.enter();
        // No sidecar writes before the thread below runs.
        let fleet = Fleet::start(specs)?;
        let control = control.and_then(|control| control.serve(&fleet));
        (fleet, control)
    };
    let terminal = terminal.then(|| show_output(&fleet)).flatten();
    let watches: Vec<_> = fleet.iter().map(Supervisor::watch).collect();
    let shown = terminal.is_some();
    let follow = |(name, watched): (String, Option<_>)| {
        Some(task(dev_reload::follow(fleet.get(&name)?.clone(), watched?, shown)))
    };
    let followers: Vec<_> = names.into_iter().zip(watched).filter_map(follow).collect();
    let (thread, dropped) = oneshot::channel();
    thread::Builder::new().name("pillion".to_owned()).spawn(move || {
        runtime.block_on(async {
            let followers: JoinSet<_> = followers.into_iter().collect();
            let _ = dropped.await;
            // They hold handles, which would keep the sidecars running.
            drop(followers);
            for mut watch in watches {
                while watch.next().await.is_some() {}
            }
        });
    })?;
    Ok(Supervised {
        fleet,
        about,
        runtime: handle,
        _thread: thread,
        close: Once::new(),
        control: Mutex::new(control),
        terminal,
        outbox: Arc::default(),
        main_thread: thread::current().id(),
    })
}

/// Shows the output of the sidecars on stderr. The app works without it.
fn show_output(fleet: &Fleet) -> Option<TerminalOutput> {
    TerminalOutput::start(fleet.iter().filter_map(Supervisor::subscribe))
        .inspect_err(|error| tracing::warn!("the output of the sidecars is not shown: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use pillion::Spec;

    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_visible_sidecars() {
        let resolved = |name| Resolved { spec: Spec::attach(name, NonZeroU16::MIN), watched: None };
        let sidecars =
            Sidecars::start(["api", "worker"].map(resolved).into(), Value::Null, None, false).unwrap();
        let said = |visible: fn(&str) -> bool| sidecars.find("other", visible).unwrap_err().message;
        let unknown = "neither tauri.conf.json nor the app's code declares the sidecar \"other\"";
        assert_eq!(said(|_| true), format!("{unknown}; declared: api, worker"));
        assert_eq!(said(|name| name == "api"), format!("{unknown}; declared: api"));
        assert_eq!(said(|_| false), unknown);
        sidecars.close();
    }
}
