//! The deaths of an app by its own doing.
//!
//! | death | |
//! | --- | --- |
//! | `close` | closes its window, the last one |
//! | `quit` | the menu's item is activated, whose handler calls `app.exit` |
//! | `exit`, `exit-main` | `app.exit` on another thread, and on the main one |
//! | `restart`, `restart-thread`, `request-restart` | `app.restart` on the main thread and on another one, `app.request_restart` |
//! | `restart-tasks` | `app.restart` in as many async tasks as there are workers for them: none is left for anything else |
//! | `race` | everything that cleans up, from several threads at once |
//! | `latch` | `app.exit`, while the sidecar is asked for again; says how that was refused |
//! | `timeout` | `app.exit` because the sidecar is not ready in time |
//! | `failed-setup`, `failed-plugin` | the app's own set-up fails, or that of a later plugin: see `app.rs` |
//! | `panic-main` | panics on the main thread |
//! | `panic-thread` | panics on another thread, which its panic hook turns into `app.exit`, as many apps do |
//! | `process-exit`, `abort` | `std::process::exit` and `abort` |
//! | `segv`, `overflow` | raises SIGSEGV; runs out of stack, which is a real fault |
//! | `park` | waits to be killed |

use std::{env, hint, net::TcpStream, panic, process, thread};

use gtk::prelude::{Cast as _, ContainerExt as _, GtkMenuItemExt as _};
use signal_hook::{consts::SIGSEGV, low_level::emulate_default_handler};
use tauri::{AppHandle, Manager as _, WebviewWindow, async_runtime};
use tauri_plugin_pillion::PillionExt as _;

use crate::app::{agree, leaves_ready, sidecar};

/// The working directory of a restarted app, by which it knows what it is: nothing else that a restart hands on can be
/// changed without `unsafe`.
pub(crate) const AGAIN: &str = "/";

/// Dies, or sets about it: some of these deaths are the main thread's.
pub(crate) fn die(death: &str, app: &AppHandle, test: TcpStream) {
    match death {
        "close" => window(app).close().unwrap(),
        "quit" => on_main(app, |app| activate_quit(&window(&app))),
        "exit" => app.exit(0),
        "exit-main" => on_main(app, |app| app.exit(0)),
        "restart" => {
            env::set_current_dir(AGAIN).unwrap();
            on_main(app, |app| app.restart());
        }
        "restart-thread" => {
            env::set_current_dir(AGAIN).unwrap();
            app.restart();
        }
        "restart-tasks" => {
            env::set_current_dir(AGAIN).unwrap();
            for _ in 0..thread::available_parallelism().unwrap().get() {
                let app = app.clone();
                async_runtime::spawn(async move { app.restart() });
            }
        }
        "request-restart" => {
            env::set_current_dir(AGAIN).unwrap();
            app.request_restart();
        }
        "race" => race(app),
        "latch" => latch(app, test),
        "timeout" => {
            async_runtime::block_on(sidecar(app).ready()).unwrap_err();
            app.exit(1);
        }
        "panic-main" => on_main(app, |_| panic!("as the test wants it")),
        "panic-thread" => {
            let app = app.clone();
            panic::set_hook(Box::new(move |_| app.exit(101)));
            panic!("as the test wants it");
        }
        "process-exit" => process::exit(0),
        "abort" => process::abort(),
        "segv" => emulate_default_handler(SIGSEGV).unwrap(),
        "overflow" => drop(hint::black_box(descend(0))),
        "park" => loop {
            thread::park();
        },
        _ => panic!("no such death: {death}"),
    }
}

fn on_main(app: &AppHandle, act: impl FnOnce(AppHandle) + Send + 'static) {
    let there = app.clone();
    app.run_on_main_thread(move || act(there)).unwrap();
}

fn window(app: &AppHandle) -> WebviewWindow {
    app.get_webview_window("main").unwrap()
}

/// What a click on the menu's only item does.
fn activate_quit(window: &WebviewWindow) {
    let inside = window.default_vbox().unwrap().children();
    let bar = inside.into_iter().find_map(|widget| widget.downcast::<gtk::MenuBar>().ok()).unwrap();
    let item = bar.children().into_iter().find_map(|widget| widget.downcast::<gtk::MenuItem>().ok());
    item.unwrap().emit_activate();
}

fn race(app: &AppHandle) {
    for act in [
        |app: AppHandle| app.exit(0),
        |app: AppHandle| drop(window(&app).close()),
        |app: AppHandle| app.pillion().close(),
        |app: AppHandle| app.cleanup_before_exit(),
    ] {
        let app = app.clone();
        thread::spawn(move || act(app));
    }
    // On a worker of a runtime nothing may block on a future, which a clean-up must therefore not try to.
    let app = app.clone();
    async_runtime::spawn(async move { app.pillion().close() });
}

fn latch(app: &AppHandle, mut test: TcpStream) {
    app.exit(0);
    async_runtime::block_on(leaves_ready(sidecar(app)));
    let word = match async_runtime::block_on(sidecar(app).restart()) {
        Ok(_) => "restarted".to_owned(),
        Err(failure) => format!("refused: {:?}", failure.kind),
    };
    agree(&mut test, &word);
}

#[expect(unconditional_recursion, reason = "that is the fault")]
fn descend(depth: u64) -> u64 {
    hint::black_box(descend(hint::black_box(depth + 1)) + 1)
}
