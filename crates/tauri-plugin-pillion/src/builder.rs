//! Builds the plugin.

use std::{error::Error, fmt};

use pillion::Spec;
use pillion_config::{Config, ConfigError, TerminalConfig};
use tauri::{
    AppHandle, Manager as _, RunEvent, Runtime, WindowEvent,
    ipc::Invoke,
    plugin::{self, TauriPlugin},
    webview::PageLoadEvent,
};

use crate::desktop::{
    CloseOnDrop, PillionExt as _, Sidecars, commands, connect_command,
    control::Control,
    development::Development,
    event_loop_handles, page_start,
    proxy::Proxy,
    request_command,
    resolve::{self, DeclarationResolver, Resolved},
    single_instance::{self, RegistrationOrder},
    subscriptions::Subscriptions,
    webviews::Webviews,
};

const REGISTERED_TWICE: &str = "tauri-plugin-pillion is set up already, and its sidecars would run twice: register it once, by \
                                `tauri::Builder::plugin`";

/// Changes the specification of the sidecar of this name.
type Configure<R> = dyn Fn(&AppHandle<R>, &str, Spec) -> Result<Spec, Box<dyn Error>> + Send;

/// Builds the plugin with what only the app's code knows: settings that are computed when the app starts, and sidecars that
/// `tauri.conf.json` does not declare.
///
/// ```no_run
/// use tauri::Manager as _;
/// use tauri_plugin_pillion::{Builder, pillion::{Program, Spec}};
///
/// # fn port_of_license_server() -> u16 { 0 }
/// # let app: tauri::Builder<tauri::Wry> =
/// tauri::Builder::default().plugin(
///     Builder::new()
///         .sidecar(Spec::run("worker", Program::new("/usr/lib/example/worker").private(true)))
///         .configure(|app, name, spec| {
///             let log = app.path().app_log_dir()?.join(name);
///             let port = port_of_license_server().to_string();
///             Ok(spec.map_program(|program| program.env("LOG_FILE", log).env("LICENSE_PORT", port)))
///         })
///         .build(),
/// )
/// # ;
/// ```
#[must_use = "does nothing until it is built and added to the app"]
pub struct Builder<R: Runtime> {
    sidecars: Vec<Spec>,
    configure: Vec<Box<Configure<R>>>,
    origins: Vec<String>,
}

/// Executes a command, which Tauri has found to be allowed. Returns whether there is such a command.
fn handle<R: Runtime>(invoke: Invoke<R>) -> bool {
    match invoke.message.command() {
        request_command::NAME => {
            request_command::handle(invoke);
            return true;
        }
        connect_command::NAME => {
            connect_command::handle(invoke);
            return true;
        }
        _ => {}
    }
    let others: fn(Invoke<R>) -> bool = tauri::generate_handler![
        commands::ready,
        commands::status,
        commands::watch,
        commands::unwatch,
        commands::read,
        commands::write,
        commands::cancel,
        commands::logs,
        commands::exit_reports,
        commands::usage,
        commands::diagnose,
        commands::restart,
        commands::swap,
        commands::stop
    ];
    others(invoke)
}

impl<R: Runtime> Builder<R> {
    /// A plugin with the sidecars that `tauri.conf.json` declares.
    pub fn new() -> Self {
        Self { sidecars: Vec::new(), configure: Vec::new(), origins: Vec::new() }
    }

    /// Adds a sidecar. The origins of the app's pages are added to those that it admits. Its other settings are those of `spec`,
    /// whose defaults differ from those of `tauri.conf.json`: [`Program::private`](pillion::Program::private) is off, and its output and
    /// exit reports are kept as files only with [`Spec::log_files`] and [`Spec::keep_exit_reports`], also in an app whose declared
    /// sidecars have such files.
    ///
    /// In development, `PILLION_ATTACH` names a server to use instead, as for a declared sidecar.
    ///
    /// A name that `tauri.conf.json` declares too aborts the start of the app.
    pub fn sidecar(mut self, spec: Spec) -> Self {
        self.sidecars.push(spec);
        self
    }

    /// Adds origins whose pages may call the app's sidecars, besides those that follow from `tauri.conf.json`. For windows that the app's
    /// code creates with another origin: `"https://tauri.localhost"` on Windows after `WebviewWindowBuilder::use_https_scheme(true)`,
    /// which the configuration does not show. Without it, their requests are answered with 403.
    ///
    /// Each origin is compared exactly: it has a scheme, a host, and a port unless that is the default one, and no path.
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Calls `configure` for each sidecar while the app is set up, with its name and its specification, before any sidecar starts.
    /// The result replaces the specification. An error aborts the start of the app. Several calls run in the order of their
    /// addition.
    ///
    /// The values of `tauri.conf.json` are in the specification already. [`Spec::map_program`] changes the program.
    pub fn configure(
        mut self,
        configure: impl Fn(&AppHandle<R>, &str, Spec) -> Result<Spec, Box<dyn Error>> + Send + 'static,
    ) -> Self {
        self.configure.push(Box::new(configure));
        self
    }

    /// Creates the plugin.
    #[must_use]
    pub fn build(self) -> TauriPlugin<R, Option<Config>> {
        // On a thread beside this one, while Tauri opens the display: the first start has the guard ready.
        pillion::guard::prepare();
        plugin::Builder::<R, Option<Config>>::new("pillion")
            .invoke_handler(event_loop_handles::spare_with_calls(handle))
            .setup(|app, api| {
                if app.try_state::<Sidecars>().is_some() {
                    return Err(REGISTERED_TWICE.into());
                }
                event_loop_handles::keep_spare(app);
                app.manage(RegistrationOrder::observe(app));
                app.manage(Webviews::default());
                app.manage(Subscriptions::default());
                app.manage(Proxy::default());
                let config = api.config().as_ref();
                let resolved = self.resolve(app, config)?;
                let sidecars =
                    Sidecars::start(resolved, about(app), Control::of(app, config), shows_output(config))?;
                app.resources_table().add(CloseOnDrop(sidecars.clone()));
                app.manage(sidecars);
                Ok(())
            })
            .on_page_load(|webview, page| {
                // The new page does not know the subscriptions and requests of the old one.
                if page.event() == PageLoadEvent::Started {
                    end_all_of(webview.app_handle(), webview.label());
                    let (url, page) = (page.url(), webview.clone());
                    webview
                        .state::<Webviews>()
                        .add(webview.label(), move || page.window_ref().label().to_owned());
                    page_start::tell(webview, url);
                }
            })
            .on_event(|app, event| match event {
                RunEvent::Ready => single_instance::check(app),
                RunEvent::Exit => app.pillion().close(),
                RunEvent::WindowEvent { label, event: WindowEvent::Destroyed, .. } => {
                    for webview in app.state::<Webviews>().take_of(label) {
                        end_all_of(app, &webview);
                    }
                }
                _ => {}
            })
            .build()
    }

    /// The sidecars of the configuration and of the code, as they are to be started.
    fn resolve(self, app: &AppHandle<R>, config: Option<&Config>) -> Result<Vec<Resolved>, Box<dyn Error>> {
        if config.is_none() && self.sidecars.is_empty() {
            return Err(ConfigError::Missing.into());
        }
        let declared = config.map(|config| &config.sidecars);
        let in_configuration = declared.into_iter().flat_map(|sidecars| sidecars.keys()).map(String::as_str);
        let names: Vec<_> = in_configuration.chain(self.sidecars.iter().map(Spec::name)).collect();
        let dev = tauri::is_dev();
        let resolver = DeclarationResolver {
            folder: resolve::folder_of_app()?,
            variables: resolve::variables(app.path()),
            development: Development::of(dev, cfg!(debug_assertions), &names)?,
            origins: with_added(resolve::origins(app.config(), dev), &self.origins),
        };
        let logs = app.path().app_log_dir().inspect_err(|error| {
            tracing::warn!(%error, "the system names no log directory: neither log files nor exit reports are kept");
        });
        let mut resolved = Vec::new();
        for (name, declared) in declared.into_iter().flatten() {
            let mut sidecar = resolver.resolve(name, declared)?;
            if let Ok(logs) = &logs {
                if declared.keeps_exit_reports() {
                    sidecar.spec = sidecar.spec.keep_exit_reports(logs.join("exits"));
                }
                if let Some(files) = declared.log_files(logs.join("sidecars")) {
                    sidecar.spec = sidecar.spec.log_files(files);
                }
            }
            resolved.push(sidecar);
        }
        for spec in self.sidecars {
            resolved.push(resolver.resolve_spec(spec));
        }
        for Resolved { spec, .. } in &mut resolved {
            for configure in &self.configure {
                let name = spec.name().to_owned();
                *spec = configure(app, &name, spec.clone())?;
            }
        }
        Ok(resolved)
    }
}

/// The origins of the configuration and those that the code adds, each once.
fn with_added(mut origins: Vec<String>, added: &[String]) -> Vec<String> {
    for origin in added {
        if !origins.contains(origin) {
            origins.push(origin.clone());
        }
    }
    origins
}

/// What a diagnosis says of the app.
fn about<R: Runtime>(app: &AppHandle<R>) -> serde_json::Value {
    let package = app.package_info();
    serde_json::json!({
        "app": {
            "name": app.config().product_name.as_ref().unwrap_or(&package.name),
            "identifier": app.config().identifier,
            "version": package.version.to_string(),
            "pid": std::process::id(),
        },
        "plugin": env!("CARGO_PKG_VERSION"),
        "tauri": tauri::VERSION,
        "webview": tauri::webview_version().ok(),
    })
}

/// Whether the app shows the output of its sidecars on stderr.
fn shows_output(config: Option<&Config>) -> bool {
    match config.map(|config| config.terminal).unwrap_or_default() {
        TerminalConfig::Auto => cfg!(debug_assertions),
        TerminalConfig::On => true,
        TerminalConfig::Off | _ => false,
    }
}

/// Ends the subscriptions and requests of the page in this webview.
fn end_all_of<R: Runtime>(app: &AppHandle<R>, webview: &str) {
    app.state::<Subscriptions>().end_all_of(webview);
    app.state::<Proxy>().cancel_all_of(webview);
}

impl<R: Runtime> Default for Builder<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime> fmt::Debug for Builder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("sidecars", &self.sidecars).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(unix)]
mod page_end_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_guard_is_loaded_before_the_app_is_built() {
        use std::{
            collections::HashSet,
            fs::{read_dir, read_link},
        };

        let is_loaded = || {
            let fds = read_dir("/proc/self/fd").unwrap().flatten();
            let mut files = fds.filter_map(|fd| read_link(fd.path()).ok());
            files.any(|file| file.to_string_lossy().starts_with("/memfd:pillion-guard"))
        };
        let threads = || -> HashSet<_> {
            read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().file_name()).collect()
        };
        let before = threads();
        let _plugin = Builder::<tauri::test::MockRuntime>::new().build();
        loop {
            // The thread that loads the guard outlives that.
            let may_load = !threads().is_subset(&before);
            if is_loaded() {
                break;
            }
            assert!(may_load, "no thread loads the guard");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_second_set_up_fails_and_starts_nothing() {
        use tauri::test::{MockRuntime, mock_builder, mock_context, noop_assets};

        let mut context = mock_context(noop_assets());
        let sidecars =
            serde_json::json!({ "sidecars": { "one": { "program": "absent", "exitReports": false } } });
        context.config_mut().plugins.0.insert("pillion".to_owned(), sidecars);
        let app = mock_builder().plugin(crate::init()).build(context).unwrap();
        for plugin in [crate::init::<MockRuntime>, crate::init::<MockRuntime>] {
            let error = app.handle().plugin(plugin()).unwrap_err().to_string();
            assert!(error.contains("register it once"), "{error}");
            // Not even if the app has removed the first one, whose sidecars run on.
            app.handle().remove_plugin("pillion");
        }
        app.pillion().close();
    }

    #[test]
    fn origins_of_the_code_are_added_once() {
        let origins = |added: &[&str]| {
            let added: Vec<_> = added.iter().map(|origin| (*origin).to_owned()).collect();
            with_added(vec!["http://tauri.localhost".to_owned()], &added)
        };
        assert_eq!(origins(&[]), ["http://tauri.localhost"]);
        let both = ["http://tauri.localhost", "https://tauri.localhost"];
        assert_eq!(origins(&["https://tauri.localhost", "https://tauri.localhost"]), both);
        assert_eq!(origins(&both), both);
    }
}
