//! The app up to its death.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;
use tauri::{
    AppHandle, Wry, async_runtime,
    menu::{Menu, MenuItem},
    plugin::{self, TauriPlugin},
};
use tauri_plugin_pillion::{
    PillionExt as _,
    pillion::{State, Supervisor},
};

use crate::{
    death::{self, AGAIN},
    page,
};

/// What the test wants of the app.
#[derive(Clone)]
pub(crate) struct Script {
    port: u16,
    moment: String,
    death: String,
    has_sidecar: bool,
}

pub(crate) fn run() {
    // Many of these deaths would leave a core file behind.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
    let mut arguments = env::args().skip(1);
    let mut argument = || arguments.next().unwrap();
    let grace: u64 = argument().parse().unwrap();
    let (port, moment, mut death) = (argument().parse().unwrap(), argument(), argument());
    // A restarted app has the arguments and the environment of the one before.
    if env::current_dir().unwrap() == Path::new(AGAIN) {
        match env::var("FAKE_APP_AGAIN") {
            Ok(next) => death = next,
            Err(_) => return,
        }
    }
    let program = arguments.next();
    let sidecars = program.as_ref().map_or(json!({}), |program| {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let mut sidecar = json!({ "program": name, "args": arguments.collect::<Vec<_>>(), "graceMs": grace, "private": false });
        sidecar.as_object_mut().unwrap().extend(page::declaration());
        if death == "timeout" {
            sidecar["readyTimeoutMs"] = json!(200);
        }
        json!({ "sidecar": sidecar })
    });
    let mut context = tauri::generate_context!();
    context.config_mut().plugins.0.insert("pillion".to_owned(), json!({ "sidecars": sidecars }));
    if env::var_os("TAURI_AUTOMATION").is_some() {
        // WebKitGTK does not let itself be driven where it keeps nothing. A test that drives it gives it a home of its own.
        context.config_mut().app.windows.iter_mut().for_each(|window| window.incognito = false);
    }
    page::configure(context.config_mut());
    let script = Script { port, moment, death, has_sidecar: program.is_some() };

    let (of_plugin, of_app) = (script.clone(), script);
    // Whether there is one instance of the app, and whether the plugin that sees to it is registered in the right order.
    let single = env::var("FAKE_APP_SINGLE").ok();
    let single_if = |wanted| {
        (single.as_deref() == Some(wanted)).then(|| tauri_plugin_single_instance::init(|_, _, _| {}))
    };
    let mut builder = tauri::Builder::default();
    if let Some(plugin) = single_if("first") {
        builder = builder.plugin(plugin);
    }
    builder = builder.plugin(tauri_plugin_pillion::init());
    if let Some(plugin) = single_if("last") {
        builder = builder.plugin(plugin);
    }
    builder
        .plugin(later_plugin(of_plugin))
        .menu(|app| Menu::with_items(app, &[&MenuItem::with_id(app, "quit", "Quit", true, None::<&str>)?]))
        .on_menu_event(|app, _| app.exit(0))
        .setup(move |app| {
            let app = app.handle().clone();
            if of_app.death == "failed-setup" {
                drop(of_app.until_due(&app));
                return Err("as the test wants it".into());
            }
            thread::spawn(move || {
                let test = of_app.until_due(&app);
                death::die(&of_app.death, &app, test);
            });
            Ok(())
        })
        .run(context)
        .unwrap();
}

/// A plugin that is set up after the sidecar was started, and may fail to be.
fn later_plugin(script: Script) -> TauriPlugin<Wry> {
    plugin::Builder::new("later")
        .setup(move |app, _| {
            if script.death == "failed-plugin" {
                drop(script.until_due(app));
                return Err("as the test wants it".into());
            }
            Ok(())
        })
        .build()
}

impl Script {
    /// Waits for the moment that it is to die at, and for the test's word. Answers the connection to the test.
    fn until_due(&self, app: &AppHandle) -> TcpStream {
        if self.has_sidecar && self.moment != "starting" {
            async_runtime::block_on(sidecar(app).ready()).unwrap();
        }
        let mut test = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        agree(&mut test, "host");
        if self.moment == "stopping" {
            let stopped = sidecar(app).clone();
            async_runtime::spawn(async move { stopped.stop().await });
            async_runtime::block_on(leaves_ready(sidecar(app)));
            agree(&mut test, "stopping");
        }
        test
    }
}

/// Tells the test a word, and waits until it answers or ends the connection.
pub(crate) fn agree(test: &mut TcpStream, word: &str) {
    test.write_all(format!("{word}\n").as_bytes()).unwrap();
    let _ = test.read(&mut [0]);
}

pub(crate) fn sidecar(app: &AppHandle) -> &Supervisor {
    app.pillion().sidecar("sidecar").unwrap()
}

/// Waits until a ready sidecar is asked to stop, or has ended.
pub(crate) async fn leaves_ready(sidecar: &Supervisor) {
    let mut changes = sidecar.watch();
    while changes.next().await.is_some_and(|status| status.state == State::Ready) {}
}
