//! The plugin where an app can start other programs.

mod builder;
mod chunk_event;
mod command_error;
mod commands;
mod connect_command;
#[cfg(feature = "control")]
mod control;
mod dev_reload;
mod development;
mod event_loop_handles;
mod http_pool;
mod ipc_message;
#[cfg(target_os = "linux")]
mod local_stream;
mod lock;
#[cfg(target_os = "linux")]
mod main_loop;
#[cfg(not(target_os = "linux"))]
#[path = "no_main_loop.rs"]
mod main_loop;
#[cfg(any(test, not(feature = "control")))]
#[cfg_attr(feature = "control", expect(dead_code, reason = "only its test runs"))]
mod no_control;
#[cfg(any(test, not(feature = "zip")))]
mod no_zip;
mod outbox;
mod output_permission;
mod page_start;
mod proxy;
mod request_command;
mod resolve;
mod scope;
mod sidecars;
mod single_instance;
mod subscriptions;
mod task;
mod webviews;
#[cfg(feature = "zip")]
mod zip;

#[cfg(not(feature = "control"))]
use no_control as control;
#[cfg(not(feature = "zip"))]
use no_zip as zip;
use tauri::{Manager, Resource, Runtime, plugin::TauriPlugin};

pub use builder::Builder;
pub use pillion;
pub use pillion::guard;
pub use pillion_config::Config;
pub use sidecars::Sidecars;

/// Creates the plugin, for sidecars that `tauri.conf.json` declares. [`Builder`] adds what is only known in code.
///
/// The plugin starts the declared sidecars while the app is set up, before the first page loads, and
/// [closes](Sidecars::close) them when the app exits or restarts. Pages that watch a sidecar then receive its state `stopping`
/// before the app waits.
///
/// In a development build, a sidecar whose program was rebuilt is [swapped](pillion::Supervisor::swap) for the new one.
///
/// An invalid declaration aborts the start of the app with an error that names path, field and cure. A sidecar that cannot be
/// started does not: its status holds the failure, and the page can show it.
///
/// ```no_run
/// fn main() -> tauri::Result<()> {
///     tauri::Builder::default().plugin(tauri_plugin_pillion::init()).run(context())
/// }
/// # fn context() -> tauri::Context { unimplemented!("tauri::generate_context!()") }
/// ```
#[must_use]
pub fn init<R: Runtime>() -> TauriPlugin<R, Option<Config>> {
    Builder::new().build()
}

/// Closes the sidecars when Tauri clears the app's resource table (`AppHandle::cleanup_before_exit`). Tauri clears it at every
/// exit of its own, also at those without [`RunEvent::Exit`]: `AppHandle::restart` on the main thread, and exits by other
/// plugins, such as the updater on Windows.
struct CloseOnDrop(Sidecars);

impl Resource for CloseOnDrop {}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Gives access to the sidecars from an app handle, a window or a webview. It is implemented for every [`Manager`], and only for
/// these.
///
/// ```no_run
/// use tauri_plugin_pillion::PillionExt as _;
///
/// fn print_state(app: &tauri::AppHandle) {
///     if let Ok(backend) = app.pillion().sidecar("backend") {
///         println!("{:?}", backend.status().state);
///     }
/// }
/// ```
pub trait PillionExt<R: Runtime>: Manager<R> {
    /// The app's sidecars.
    ///
    /// # Panics
    /// If the plugin is not set up yet.
    fn pillion(&self) -> &Sidecars;
}

impl<R: Runtime, M: Manager<R>> PillionExt<R> for M {
    fn pillion(&self) -> &Sidecars {
        self.state::<Sidecars>().inner()
    }
}
