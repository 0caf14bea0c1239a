//! In place of `control.rs`, without the feature `control`.

use pillion::Fleet;
use pillion_config::{Config, ControlConfig};
use tauri::{AppHandle, Runtime};

/// None is ever served.
#[derive(Debug)]
pub(crate) enum ControlSocket {}

/// There is none, whatever the configuration declares.
#[derive(Debug)]
pub(crate) enum Control {}

impl Control {
    pub(crate) fn of<R: Runtime>(_: &AppHandle<R>, config: Option<&Config>) -> Option<Self> {
        // The other value that opens a socket is the default.
        if config.is_some_and(|config| config.control == ControlConfig::Full) {
            tracing::warn!(
                "`pillion ps` does not show this app: it lacks the feature \"control\" of tauri-plugin-pillion"
            );
        }
        None
    }

    pub(crate) fn serve(self, _: &Fleet) -> Option<ControlSocket> {
        match self {}
    }
}
