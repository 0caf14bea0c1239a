//! The app, until its end.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::{Value, json};
use tauri::{
    AppHandle, Context, Wry, async_runtime,
    menu::{Menu, MenuItem},
    plugin::{self, TauriPlugin},
};
use tauri_plugin_pillion::{
    PillionExt as _,
    pillion::{State, Supervisor},
};

use crate::{
    death::{self, RESTARTED},
    page,
};

/// The app's behaviour, which the test chooses.
#[derive(Clone)]
pub(crate) struct Script {
    port: u16,
    moment: String,
    death: String,
    has_sidecar: bool,
}

pub(crate) fn run() {
    // Many of these ends would leave a core file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let grace: u64 = argument().parse().unwrap();
    let (port, moment, mut death) = (argument().parse().unwrap(), argument(), argument());
    // A restarted app has the arguments and the environment of the first one.
    if env::current_dir().unwrap() == Path::new(RESTARTED) {
        match env::var("FAKE_APP_AGAIN") {
            Ok(next) => death = next,
            Err(_) => return,
        }
    }
    let program = arguments.next();
    let sidecars = program.as_ref().map_or(
        json!({}),
        |program| json!({ "sidecar": declaration(program, arguments.collect(), grace, &death) }),
    );
    page::log();
    let mut context = tauri::generate_context!();
    context.config_mut().plugins.0.insert("pillion".to_owned(), json!({ "sidecars": sidecars }));
    if env::var_os("TAURI_AUTOMATION").is_some() {
        // WebDriver cannot control an incognito window of WebKitGTK. A test that uses WebDriver sets a home directory of its own.
        context.config_mut().app.windows.iter_mut().for_each(|window| window.incognito = false);
    }
    page::configure(context.config_mut());
    let script = Script { port, moment, death, has_sidecar: program.is_some() };
    run_app(context, script);
}

/// The declaration of the sidecar that the test names.
fn declaration(program: &str, arguments: Vec<String>, grace: u64, death: &str) -> Value {
    let name = Path::new(program).file_name().unwrap().to_str().unwrap();
    let mut sidecar = json!({ "program": name, "args": arguments, "graceMs": grace, "private": false });
    sidecar.as_object_mut().unwrap().extend(page::declaration());
    if death == "timeout" {
        sidecar["readyTimeoutMs"] = json!(200);
    }
    sidecar
}

/// Builds the app and runs it to its end.
fn run_app(context: Context<Wry>, script: Script) {
    let (plugin_script, app_script) = (script.clone(), script);
    // Whether the single-instance plugin is registered, and whether before or after pillion's.
    let order = env::var("FAKE_APP_SINGLE").ok();
    let single_instance_if = |position| {
        (order.as_deref() == Some(position)).then(|| tauri_plugin_single_instance::init(|_, _, _| {}))
    };
    let mut builder = tauri::Builder::default();
    if let Some(plugin) = single_instance_if("first") {
        builder = builder.plugin(plugin);
    }
    builder = builder.plugin(tauri_plugin_pillion::init());
    if let Some(plugin) = single_instance_if("last") {
        builder = builder.plugin(plugin);
    }
    builder
        .plugin(later_plugin(plugin_script))
        .menu(|app| Menu::with_items(app, &[&MenuItem::with_id(app, "quit", "Quit", true, None::<&str>)?]))
        .on_menu_event(|app, _| app.exit(0))
        .setup(move |app| {
            let app = app.handle().clone();
            if app_script.death == "failed-setup" {
                drop(app_script.wait(&app));
                return Err("the test wants this error".into());
            }
            thread::spawn(move || {
                let test = app_script.wait(&app);
                death::die(&app_script.death, &app, test);
            });
            Ok(())
        })
        .run(context)
        .unwrap();
}

/// A plugin that is set up after the sidecar is started. Its set-up fails if the test wants it to.
fn later_plugin(script: Script) -> TauriPlugin<Wry> {
    plugin::Builder::new("later")
        .setup(move |app, _| {
            if script.death == "failed-plugin" {
                drop(script.wait(app));
                return Err("the test wants this error".into());
            }
            Ok(())
        })
        .build()
}

impl Script {
    /// Waits for the moment of the end, and then for the test. Returns the connection to the test.
    fn wait(&self, app: &AppHandle) -> TcpStream {
        if self.has_sidecar && self.moment != "starting" {
            async_runtime::block_on(sidecar(app).ready()).unwrap();
        }
        let mut test = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        handshake(&mut test, "host");
        if self.moment == "stopping" {
            let stopped = sidecar(app).clone();
            async_runtime::spawn(async move { stopped.stop().await });
            async_runtime::block_on(wait_not_ready(sidecar(app)));
            handshake(&mut test, "stopping");
        }
        test
    }
}

/// Sends the test a word, and waits until it responds or closes the connection.
pub(crate) fn handshake(test: &mut TcpStream, word: &str) {
    test.write_all(format!("{word}\n").as_bytes()).unwrap();
    let _ = test.read(&mut [0]);
}

pub(crate) fn sidecar(app: &AppHandle) -> &Supervisor {
    app.pillion().sidecar("sidecar").unwrap()
}

/// Waits until a ready sidecar is stopping or has ended.
pub(crate) async fn wait_not_ready(sidecar: &Supervisor) {
    let mut changes = sidecar.watch();
    while changes.next().await.is_some_and(|status| status.state == State::Ready) {}
}
