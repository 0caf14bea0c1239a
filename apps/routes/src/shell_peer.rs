//! Starts a program by tauri-plugin-shell, as many apps and the original plan do: a peer for `cargo xtask bench --only peers`.
//!
//! The arguments are `shell child|group hold|drain PROGRAM ARGUMENTS…`. `child` is the plugin's default; with `group`, it kills the process
//! group of the program. There is no window. The reports on stdout are those of the benchmark's other libraries (`hold`).

use std::{
    env,
    io::{self, Read as _},
    time::{Duration, Instant},
};

use serde_json::json;
use tauri::{AppHandle, Context, Wry, async_runtime};
use tauri_plugin_shell::{
    ShellExt as _,
    process::{CommandChild, CommandEvent},
};

type Error = Box<dyn std::error::Error + Send + Sync>;
/// How long the plugin may take to tell the end of a program that it has killed.
const END_LIMIT: Duration = Duration::from_secs(2);

type Events = async_runtime::Receiver<CommandEvent>;

/// Whether this process is the peer, and not the app with the page.
pub(crate) fn is_asked() -> bool {
    env::args().nth(1).as_deref() == Some("shell")
}

pub(crate) fn run(mut context: Context<Wry>) -> tauri::Result<()> {
    context.config_mut().app.windows.clear();
    tauri::Builder::default()
        .plugin(tauri_plugin_shell::init())
        .setup(|app| {
            let app = app.handle().clone();
            async_runtime::spawn(async move {
                let code = match measure(&app).await {
                    Ok(()) => 0,
                    Err(error) => {
                        eprintln!("{error}");
                        1
                    }
                };
                app.exit(code);
            });
            Ok(())
        })
        .run(context)
}

async fn measure(app: &AppHandle) -> Result<(), Error> {
    let arguments: Vec<_> = env::args().skip(2).collect();
    let [scope, task, program, arguments @ ..] = &arguments[..] else {
        return Err("say `shell child|group hold|drain PROGRAM`".into());
    };
    let begun = Instant::now();
    let command = app.shell().command(program).args(arguments).set_process_group(scope == "group");
    let (events, child) = command.spawn()?;
    match task.as_str() {
        "hold" => hold(events, child, begun).await,
        _ => drain(events, begun).await,
    }
}

/// Holds the program until stdin ends, and kills it, as an app does at its exit event.
async fn hold(mut events: Events, child: CommandChild, begun: Instant) -> Result<(), Error> {
    loop {
        match events.recv().await {
            Some(CommandEvent::Stdout(line)) if line.starts_with(b"BACKEND_PORT:") => break,
            Some(CommandEvent::Terminated(_)) | None => {
                return Err("it ended before it announced itself".into());
            }
            Some(_) => {}
        }
    }
    println!("{}", json!({ "announced": begun.elapsed().as_secs_f64(), "ready": null }));
    async_runtime::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    let asked = Instant::now();
    child.kill()?;
    // The plugin tells the end when all ends of the pipes are closed, which descendants of the program may hold.
    let ended = async { while !matches!(events.recv().await, Some(CommandEvent::Terminated(_)) | None) {} };
    let _ = tokio::time::timeout(END_LIMIT, ended).await;
    println!("{}", json!({ "seconds": asked.elapsed().as_secs_f64(), "killed": 1 }));
    Ok(())
}

/// Reads all output of the program, line by line, and reports the time that it took.
async fn drain(mut events: Events, begun: Instant) -> Result<(), Error> {
    while !matches!(events.recv().await, Some(CommandEvent::Terminated(_)) | None) {}
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}
