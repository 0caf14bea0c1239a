//! Whether the plugin that ends a second launch of the app comes before this one, which starts the sidecars.

use tauri::{AppHandle, Manager as _, Runtime};

/// What was so when this plugin was set up.
pub(crate) struct SetUp {
    single: bool,
}

impl SetUp {
    pub(crate) fn of<R: Runtime>(app: &AppHandle<R>) -> Self {
        Self { single: is_single(app) }
    }
}

/// Warns where a later plugin has made sure that this launch is the only one. By then all of them are set up.
pub(crate) fn check<R: Runtime>(app: &AppHandle<R>) {
    const WARNING: &str = "tauri-plugin-single-instance is registered after tauri-plugin-pillion, so that a second launch of \
                           the app starts the sidecars before it ends: register it first";
    if is_single(app) && !app.state::<SetUp>().single {
        tracing::warn!("{WARNING}");
        tell(WARNING);
    }
}

/// tauri-plugin-single-instance keeps its lock among the app's resources, which show nothing but the names of their types:
/// [`tauri::Resource::name`]. Where it found no way to tell launches apart, such as a session without D-Bus, there is none.
fn is_single<R: Runtime>(app: &AppHandle<R>) -> bool {
    app.resources_table().names().any(|(_, name)| name.starts_with("tauri_plugin_single_instance::"))
}

/// Tells the developer, whose app need not have a subscriber for traces.
#[expect(clippy::print_stderr, reason = "development only: it is for whoever has registered the plugins")]
fn tell(warning: &str) {
    if tauri::is_dev() || cfg!(debug_assertions) {
        eprintln!("pillion: {warning}");
    }
}
