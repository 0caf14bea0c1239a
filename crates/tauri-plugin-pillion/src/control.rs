//! The control socket, by which other programs of the user look at the app's sidecars.

use pillion::Fleet;
use pillion_config::{Config, ControlConfig};
use pillion_control::{AppInfo, ControlLevel};
use tauri::{AppHandle, Runtime};

pub(crate) use pillion_control::ControlSocket;

/// What other programs may do, and what they see of the app.
#[derive(Debug)]
pub(crate) struct Control {
    app: AppInfo,
    level: ControlLevel,
}

impl Control {
    /// What the configuration declares.
    pub(crate) fn of<R: Runtime>(app: &AppHandle<R>, config: Option<&Config>) -> Option<Self> {
        let level = match config.map(|config| config.control).unwrap_or_default() {
            ControlConfig::Read => ControlLevel::Read,
            ControlConfig::Full => ControlLevel::Full,
            ControlConfig::Off | _ => return None,
        };
        let package = app.package_info();
        let name = app.config().product_name.as_ref().unwrap_or(&package.name);
        let app =
            AppInfo::new(name).identifier(&app.config().identifier).version(package.version.to_string());
        Some(Self { app, level })
    }

    /// Lets other programs look at these sidecars. The app works without it.
    pub(crate) fn serve(self, fleet: &Fleet) -> Option<ControlSocket> {
        pillion_control::serve(self.app, self.level, fleet.iter().cloned())
            .inspect_err(|error| tracing::warn!("`pillion ps` does not show this app: {error}"))
            .ok()
    }
}
