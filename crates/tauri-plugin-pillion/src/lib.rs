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
//! # Android and iOS
//! An app for Android or iOS cannot start sidecars. The same code compiles there, with [`init`] and [`guard::run_if_asked`] alone, and a page
//! learns that its sidecar does not run on that system. What else of this crate your code uses belongs behind `#[cfg(desktop)]`.
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

// Its modules are the files beside it.
#[cfg(desktop)]
#[path = "desktop.rs"]
mod desktop;
#[cfg(any(mobile, test))]
#[cfg_attr(not(mobile), expect(dead_code, unreachable_pub, reason = "only its test runs"))]
mod mobile;
#[cfg(test)]
mod test_context;

#[cfg(desktop)]
pub use desktop::*;
#[cfg(mobile)]
pub use mobile::*;

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
