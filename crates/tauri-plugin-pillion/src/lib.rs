//! Sidecars for Tauri apps.
//!
//! Declare the sidecar in `tauri.conf.json`, add the plugin, and the backend is started with the app and stopped with
//! it:
//!
//! ```json
//! { "bundle": { "externalBin": ["binaries/backend"] },
//!   "plugins": { "pillion": { "sidecars": { "backend": {} } } } }
//! ```
//!
//! ```no_run
//! # let builder: tauri::Builder<tauri::Wry> =
//! tauri::Builder::default().plugin(tauri_plugin_pillion::init())
//! # ;
//! ```
//!
//! In Rust, [`PillionExt::pillion`] gives a [`pillion::Supervisor`] for each sidecar; in a page, the npm package
//! `tauri-plugin-pillion-api` does the same, as far as the capability allows. What a sidecar has to do is
//! [`pillion::protocol`]; what may be declared is [`config::Sidecar`]. This crate wires; the supervision is
//! [`pillion`]'s.
//!
//! # A single instance
//! `tauri-plugin-single-instance` ends the second launch of an app when it is set up, and plugins are set up in the order in
//! which they are registered. Register it first, and a second launch starts nothing:
//!
//! ```ignore
//! tauri::Builder::default()
//!     .plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| show(app)))
//!     .plugin(tauri_plugin_pillion::init())
//! ```
//!
//! Registered later, it has each second launch start the sidecars and stop them again. This plugin sees that at every
//! start of the app, and warns of it.

mod commands;
pub mod config;
mod framing;
mod lock;
mod order;
mod rebuilt;
mod requests;
mod resolve;
mod scope;
mod sidecars;
mod subscriptions;
mod wire;

use tauri::{
    Manager, Resource, RunEvent, Runtime, WindowEvent,
    plugin::{Builder, TauriPlugin},
    webview::PageLoadEvent,
};

use config::Config;
pub use pillion;
use requests::Requests;
pub use sidecars::Sidecars;
use subscriptions::Subscriptions;

/// The plugin. It starts the declared sidecars while the app is set up, before the first page loads, and
/// [closes](Sidecars::close) them when the app exits or restarts.
///
/// In a development build, a sidecar whose program was rebuilt is [swapped](pillion::Supervisor::swap) for the new one.
///
/// The app fails to start, with a sentence that says why, when a declaration makes no sense. A sidecar that cannot be
/// started does not fail the app: its state says so, and the page can show it.
#[must_use]
pub fn init<R: Runtime>() -> TauriPlugin<R, Option<Config>> {
    Builder::<R, Option<Config>>::new("pillion")
        .invoke_handler(tauri::generate_handler![
            commands::ready,
            commands::status,
            commands::watch,
            commands::unwatch,
            commands::connect,
            commands::request,
            commands::read,
            commands::cancel,
            commands::logs,
            commands::restart,
            commands::swap,
            commands::stop
        ])
        .setup(|app, api| {
            app.manage(order::SetUp::of(app));
            app.manage(Subscriptions::default());
            app.manage(Requests::default());
            let sidecars = Sidecars::start(api.config().as_ref(), app.config())?;
            app.resources_table().add(CloseOnDrop(sidecars.clone()));
            app.manage(sidecars);
            Ok(())
        })
        .on_page_load(|webview, page| {
            // A page that loads anew has forgotten what it watched and asked.
            if page.event() == PageLoadEvent::Started {
                webview.state::<Subscriptions>().end_all_of(webview.label());
                webview.state::<Requests>().cancel_all_of(webview.label());
            }
        })
        .on_event(|app, event| match event {
            RunEvent::Ready => order::check(app),
            RunEvent::Exit => app.pillion().close(),
            RunEvent::WindowEvent { label, event: WindowEvent::Destroyed, .. } => {
                app.state::<Requests>().cancel_all_of(label);
            }
            _ => {}
        })
        .build()
}

/// Closes the sidecars when Tauri clears the app's resource table (`AppHandle::cleanup_before_exit`), which it does at
/// every end that it brings about itself. Some of them are no [`RunEvent::Exit`]: `AppHandle::restart` on the main thread,
/// and what other plugins exit by, such as the updater on Windows.
struct CloseOnDrop(Sidecars);

impl Resource for CloseOnDrop {}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Gives the app's sidecars to whoever holds the app, a window or a webview.
pub trait PillionExt<R: Runtime> {
    /// The sidecars that `tauri.conf.json` declares.
    ///
    /// # Panics
    /// Before the plugin was set up.
    fn pillion(&self) -> &Sidecars;
}

impl<R: Runtime, M: Manager<R>> PillionExt<R> for M {
    fn pillion(&self) -> &Sidecars {
        self.state::<Sidecars>().inner()
    }
}

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
