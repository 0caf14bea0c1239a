//! Sidecars for Tauri apps: local servers that start with the app, and stop with it.
//!
//! Declare the sidecar in `tauri.conf.json`:
//!
//! ```json
//! { "bundle": { "externalBin": ["binaries/notes-backend"] },
//!   "plugins": { "pillion": { "sidecars": { "backend": { "program": "notes-backend" } } } } }
//! ```
//!
//! Add the plugin to the builder:
//!
//! ```no_run
//! # let builder: tauri::Builder<tauri::Wry> =
//! tauri::Builder::default().plugin(tauri_plugin_pillion::init())
//! # ;
//! ```
//!
//! Let the page call it, by a capability in `src-tauri/capabilities`:
//!
//! ```json
//! { "identifier": "default", "windows": ["main"],
//!   "permissions": ["core:default", "pillion:default", "pillion:allow-connect"] }
//! ```
//!
//! And call it in the page, with the npm package `tauri-plugin-pillion-api`:
//!
//! ```ts
//! import { sidecar } from "tauri-plugin-pillion-api";
//!
//! const backend = sidecar("backend");
//! const answer = await backend.fetch("/notes");   // waits until it is ready, even after a crash
//! ```
//!
//! The command `pillion init` (`cargo install pillion-cli`) writes all but the call in the page, which it prints.
//!
//! In Rust, [`PillionExt::pillion`] returns the [`Sidecars`], with a [`pillion::Supervisor`] for each. In a page, the npm
//! package `tauri-plugin-pillion-api` does the same, within the permissions of the window's capability. [`pillion::protocol`]
//! describes what a sidecar has to do, and [`Config`] what you can declare. This crate only wires Tauri to [`pillion`], which
//! supervises the sidecars.
//!
//! # Cargo features
//! All are on by default. An app that needs one of them less is smaller, and compiles in less time:
//! `tauri-plugin-pillion = { version = "0.1", default-features = false, features = ["zip"] }`.
//!
//! - `control`: the control socket, by which `pillion ps`, `top`, `logs` and other programs of the user see the app.
//! - `websocket`: WebSockets of pages to sidecars without a port, through the app. Those to a port need nothing of it.
//! - `zip`: a diagnosis as a zip file, for pages (`diagnose`) and for [`pillion::Diagnosis`].
//!
//! # A killed app
//! The sidecars of an app that is killed stop, too. On Windows they have their grace period only if this is the first line of the
//! app's `run` or `main`: `tauri_plugin_pillion::guard::run_if_asked();` ([`guard`]).
//!
//! # A single instance
//! `tauri-plugin-single-instance` ends the second launch of an app while it is set up. Tauri sets plugins up in the order of
//! their registration. Register it first, so that a second launch starts no sidecar:
//!
//! ```ignore
//! tauri::Builder::default()
//!     .plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| show(app)))
//!     .plugin(tauri_plugin_pillion::init())
//! ```
//!
//! If it is registered later, each second launch starts the sidecars and stops them again. This plugin checks the order at every
//! start of the app, and warns about a wrong one.

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

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
