//! The app's sidecars, by name.

use std::{collections::BTreeMap, env, error::Error};

use pillion::{Detail, Failure, FailureKind, Spec, Supervisor};

use crate::{
    config::{Config, ConfigError},
    resolve::{self, Found},
};

/// The supervisors of the sidecars that `tauri.conf.json` declares.
#[derive(Debug)]
pub struct Sidecars(BTreeMap<String, Supervisor>);

impl Sidecars {
    /// Starts every declared sidecar in the background.
    pub(crate) fn start(config: Option<&Config>, app: &tauri::Config) -> Result<Self, Box<dyn Error>> {
        let config = config.ok_or(ConfigError::Missing)?;
        let dev = tauri::is_dev();
        let origins = resolve::origins(app, dev);
        let attach = (dev || cfg!(debug_assertions)).then(|| env::var_os(resolve::ATTACH)).flatten();
        // A link to the app must not make us look for the sidecar beside the link.
        let own = tauri::utils::platform::current_exe()?;
        let folder = own.parent().ok_or("the app's own executable has no folder")?;
        let mut specs = Vec::new();
        for (name, sidecar) in &config.sidecars {
            let spec = match resolve::find(folder, sidecar.program(name)?, attach.as_deref())? {
                Found::Program(program) => Spec::run(name, program).allowed_origins(&origins),
                Found::Server(port) => Spec::attach(name, port),
            };
            specs.push(sidecar.refine(spec, name)?);
        }
        // Only now that every declaration makes sense: nothing is to be cleaned up when one does not.
        tauri::async_runtime::block_on(async {
            let start = |spec| {
                let (supervisor, _events) = Supervisor::start(spec);
                (supervisor.name().to_owned(), supervisor)
            };
            Ok(Self(specs.into_iter().map(start).collect()))
        })
    }

    /// The sidecar called `name`.
    ///
    /// # Errors
    /// [`FailureKind::UnknownSidecar`] when none is declared by that name.
    pub fn sidecar(&self, name: &str) -> Result<&Supervisor, Failure> {
        self.0.get(name).ok_or_else(|| {
            let declared = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Failure {
                kind: FailureKind::UnknownSidecar,
                message: format!("no sidecar {name:?} in tauri.conf.json; declared: {declared}"),
                detail: Detail { sidecar: name.to_owned(), ..Detail::default() },
            }
        })
    }

    /// Stops all sidecars at the same time, each within its own grace period, and returns when nothing is left.
    pub async fn stop(&self) {
        let mut stops = tokio::task::JoinSet::new();
        for supervisor in self.0.values() {
            let supervisor = supervisor.clone();
            stops.spawn(async move {
                let outcome = supervisor.stop().await;
                tracing::info!(sidecar = supervisor.name(), ?outcome, "stopped");
            });
        }
        stops.join_all().await;
    }
}
