//! Checks that tauri-plugin-single-instance, which ends a second launch of the app, is registered before this plugin, which
//! starts the sidecars.

use tauri::{AppHandle, Manager as _, Runtime};

/// Remembers whether the single-instance plugin was set up before this one.
pub(crate) struct RegistrationOrder {
    single_instance_first: bool,
}

impl RegistrationOrder {
    /// Call this while this plugin is set up: Tauri sets plugins up in the order of their registration.
    pub(crate) fn observe<R: Runtime>(app: &AppHandle<R>) -> Self {
        Self { single_instance_first: has_single_instance(app) }
    }
}

/// Warns if the single-instance plugin was set up after this one. Call it when the app is ready: all plugins are set up by then.
pub(crate) fn check<R: Runtime>(app: &AppHandle<R>) {
    const WARNING: &str = "tauri-plugin-single-instance is registered after tauri-plugin-pillion, so that a second launch of \
                           the app starts the sidecars before it ends: register it first";
    if has_single_instance(app) && !app.state::<RegistrationOrder>().single_instance_first {
        tracing::warn!("{WARNING}");
        print_warning(WARNING);
    }
}

/// Whether tauri-plugin-single-instance is set up. The plugin keeps its lock in the app's resource table, which shows only the
/// type names of its entries ([`tauri::Resource::name`]). Where the plugin cannot detect another launch, as in a session
/// without D-Bus, it keeps no lock, and this function returns false.
fn has_single_instance<R: Runtime>(app: &AppHandle<R>) -> bool {
    app.resources_table().names().any(|(_, name)| name.starts_with("tauri_plugin_single_instance::"))
}

/// Prints the warning in development, because the app may have no `tracing` subscriber.
#[expect(clippy::print_stderr, reason = "development only: the developer of the app must see it")]
fn print_warning(warning: &str) {
    if tauri::is_dev() || cfg!(debug_assertions) {
        eprintln!("pillion: {warning}");
    }
}
