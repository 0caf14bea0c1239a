//! The ways in which an app can end by itself.
//!
//! | death | what it does |
//! | --- | --- |
//! | `close` | closes its window, the last one |
//! | `quit` | activates the menu's item, whose handler calls `app.exit` |
//! | `exit`, `exit-main` | calls `app.exit` on another thread, and on the main one |
//! | `restart`, `restart-thread`, `request-restart` | calls `app.restart` on the main thread or on another one, or `app.request_restart` |
//! | `restart-tasks` | calls `app.restart` in as many async tasks as the runtime has workers, so that no worker is left |
//! | `race` | calls all functions that clean up, from several threads at once |
//! | `latch` | calls `app.exit` and then restarts the sidecar; reports the error to the test |
//! | `timeout` | calls `app.exit` because the sidecar is not ready in time |
//! | `failed-setup`, `failed-plugin` | the set-up of the app or of a later plugin fails: see `app.rs` |
//! | `panic-main` | panics on the main thread |
//! | `panic-thread` | panics on another thread; the panic hook calls `app.exit`, as in many apps |
//! | `process-exit`, `abort` | calls `std::process::exit` or `abort` |
//! | `segv`, `overflow` | raises SIGSEGV, or overflows the stack, which is a real fault |
//! | `busy` | occupies all workers of the async runtime until the test responds, and waits to be killed |
//! | `park` | waits to be killed |

use std::{
    env, hint,
    net::TcpStream,
    panic, process,
    sync::{Arc, Barrier},
    thread,
};

use gtk::prelude::{Cast as _, ContainerExt as _, GtkMenuItemExt as _};
use signal_hook::{consts::SIGSEGV, low_level::emulate_default_handler};
use tauri::{AppHandle, Manager as _, WebviewWindow, async_runtime};
use tauri_plugin_pillion::PillionExt as _;

use crate::app::{handshake, sidecar, wait_not_ready};

/// The working directory of a restarted app, which tells it that it was restarted. A restart passes on arguments, environment and
/// working directory, and only the last can be changed without `unsafe`.
pub(crate) const RESTARTED: &str = "/";

/// Ends the app, or begins to: some of these ends happen on the main thread.
pub(crate) fn die(death: &str, app: &AppHandle, test: TcpStream) {
    match death {
        "close" => window(app).close().unwrap(),
        "quit" => on_main(app, |app| activate_quit(&window(&app))),
        "exit" => app.exit(0),
        "exit-main" => on_main(app, |app| app.exit(0)),
        "restart" => {
            env::set_current_dir(RESTARTED).unwrap();
            on_main(app, |app| app.restart());
        }
        "restart-thread" => {
            env::set_current_dir(RESTARTED).unwrap();
            app.restart();
        }
        "restart-tasks" => {
            env::set_current_dir(RESTARTED).unwrap();
            for _ in 0..thread::available_parallelism().unwrap().get() {
                let app = app.clone();
                async_runtime::spawn(async move { app.restart() });
            }
        }
        "request-restart" => {
            env::set_current_dir(RESTARTED).unwrap();
            app.request_restart();
        }
        "race" => race(app),
        "latch" => latch(app, test),
        "timeout" => {
            async_runtime::block_on(sidecar(app).ready()).unwrap_err();
            app.exit(1);
        }
        "panic-main" => on_main(app, |_| panic!("the test wants this panic")),
        "panic-thread" => {
            let app = app.clone();
            panic::set_hook(Box::new(move |_| app.exit(101)));
            panic!("the test wants this panic");
        }
        "process-exit" => process::exit(0),
        "abort" => process::abort(),
        "segv" => emulate_default_handler(SIGSEGV).unwrap(),
        "overflow" => drop(hint::black_box(descend(0))),
        "busy" => {
            occupy_workers(test);
            park();
        }
        "park" => park(),
        _ => panic!("unknown death: {death}"),
    }
}

fn on_main(app: &AppHandle, action: impl FnOnce(AppHandle) + Send + 'static) {
    let handle = app.clone();
    app.run_on_main_thread(move || action(handle)).unwrap();
}

fn window(app: &AppHandle) -> WebviewWindow {
    app.get_webview_window("main").unwrap()
}

/// Does what a click on the menu's only item does.
fn activate_quit(window: &WebviewWindow) {
    let inside = window.default_vbox().unwrap().children();
    let bar = inside.into_iter().find_map(|widget| widget.downcast::<gtk::MenuBar>().ok()).unwrap();
    let item = bar.children().into_iter().find_map(|widget| widget.downcast::<gtk::MenuItem>().ok());
    item.unwrap().emit_activate();
}

fn race(app: &AppHandle) {
    for action in [
        |app: AppHandle| app.exit(0),
        |app: AppHandle| drop(window(&app).close()),
        |app: AppHandle| app.pillion().close(),
        |app: AppHandle| app.cleanup_before_exit(),
    ] {
        let app = app.clone();
        thread::spawn(move || action(app));
    }
    // A worker of the runtime panics if it blocks on a future: `close` must not do that.
    let app = app.clone();
    async_runtime::spawn(async move { app.pillion().close() });
}

fn latch(app: &AppHandle, mut test: TcpStream) {
    app.exit(0);
    async_runtime::block_on(wait_not_ready(sidecar(app)));
    let word = match async_runtime::block_on(sidecar(app).restart()) {
        Ok(_) => "restarted".to_owned(),
        Err(failure) => format!("refused: {:?}", failure.kind),
    };
    handshake(&mut test, &word);
}

/// Occupies every worker until the test responds.
fn occupy_workers(mut test: TcpStream) {
    let workers = thread::available_parallelism().unwrap().get();
    let (all, end) = (Arc::new(Barrier::new(workers + 1)), Arc::new(Barrier::new(workers + 1)));
    for _ in 0..workers {
        let (all, end) = (Arc::clone(&all), Arc::clone(&end));
        async_runtime::spawn(async move {
            all.wait();
            end.wait();
        });
    }
    all.wait();
    handshake(&mut test, "busy");
    end.wait();
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

#[expect(unconditional_recursion, reason = "the stack overflow is intended")]
fn descend(depth: u64) -> u64 {
    hint::black_box(descend(hint::black_box(depth + 1)) + 1)
}
