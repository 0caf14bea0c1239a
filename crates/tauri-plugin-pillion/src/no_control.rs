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

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::json;
    use tauri::test::mock_app;

    use super::*;
    use crate::desktop::lock::lock;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an app with this value of `control` writes to its log.
    fn logged(control: Option<&str>) -> String {
        let config = control
            .map(|control| serde_json::from_value(json!({ "control": control, "sidecars": {} })).unwrap());
        let (app, log) = (mock_app(), Log::default());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let control =
            tracing::subscriber::with_default(subscriber, || Control::of(app.handle(), config.as_ref()));
        assert!(control.is_none());
        String::from_utf8(lock(&log.0).clone()).unwrap()
    }

    #[test]
    fn an_app_that_asks_for_the_control_socket_is_told_which_feature_opens_it() {
        let warning = logged(Some("full"));
        assert!(warning.contains("WARN") && warning.contains("the feature \"control\""), "{warning}");
    }

    #[test]
    fn an_app_that_does_not_ask_for_it_is_told_nothing() {
        for control in [None, Some("read")] {
            assert_eq!(logged(control), "");
        }
    }
}
