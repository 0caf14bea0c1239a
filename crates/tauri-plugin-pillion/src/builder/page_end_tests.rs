use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
};

use serde_json::{Value, json};
use tauri::{
    App, Webview, WebviewWindowBuilder, async_runtime,
    ipc::{CallbackFn, InvokeBody, InvokeResponse},
    test::{INVOKE_KEY, MockRuntime, mock_builder},
    webview::InvokeRequest,
};

use super::*;
use crate::test_context::with_permissions;

/// An app with a sidecar on demand, whose window `main` may do everything.
fn app() -> App<MockRuntime> {
    let granted =
        ["watch", "connect", "logs", "usage", "request"].map(|command| format!("pillion:allow-{command}"));
    let mut context = with_permissions(&Value::from(granted.to_vec()));
    // Nothing listens there: the app only has to believe that the sidecar is ready.
    let sidecar = json!({
        "command": "sh", "args": ["-c", "echo port 4242; exec sleep 600"], "ready": { "line": "port (?<port>[0-9]+)" },
        "private": false, "graceMs": 1, "log": false, "exitReports": false, "onDemand": true, "idleStopMs": 1
    });
    context.config_mut().plugins.0.insert("pillion".to_owned(), json!({ "sidecars": { "one": sidecar } }));
    mock_builder().plugin(crate::init()).build(context).unwrap()
}

/// Occupies every worker of the runtime, until the result is called.
fn occupy_workers() -> impl FnOnce() {
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
    move || {
        end.wait();
    }
}

#[test]
fn what_a_page_begins_ends_with_the_page_however_busy_the_app_is() {
    let app = app();
    let window = WebviewWindowBuilder::new(&app, "main", tauri::WebviewUrl::default()).build().unwrap();
    let webview: &Webview<_> = window.as_ref();
    let (answered, answers) = mpsc::channel();
    let call = |command: &str, body: InvokeBody| {
        let request = InvokeRequest {
            cmd: format!("plugin:pillion|{command}"),
            callback: CallbackFn(0),
            error: CallbackFn(1),
            url: "tauri://localhost".parse().unwrap(),
            body,
            headers: Default::default(),
            invoke_key: INVOKE_KEY.to_owned(),
        };
        let answered = answered.clone();
        webview.clone().on_message(request, Box::new(move |_, _, answer, _, _| drop(answered.send(answer))));
    };
    let release_workers = occupy_workers();
    for command in ["watch", "logs", "usage", "connect"] {
        call(command, json!({ "sidecar": "one", "channel": "__CHANNEL__:0" }).into());
    }
    for (id, web_socket, length) in [(1, false, 0), (2, false, 100_000), (3, true, 0)] {
        call("request", request(id, web_socket, length).into());
    }
    end_all_of(app.handle(), "main");
    release_workers();

    let mut cancelled = Vec::new();
    for _ in 0..7 {
        // A command that waited for a worker has begun its subscription when it answers.
        if let InvokeResponse::Err(error) = answers.recv().unwrap() {
            cancelled.push(error.0.to_string());
        }
    }
    assert_eq!(webview.state::<Subscriptions>().count(), 0);
    cancelled.sort_unstable();
    let expected = ["closed the WebSocket", "cancelled the request", "cancelled the request"];
    for expected in expected {
        let place = cancelled.iter().position(|why| why.contains(expected));
        cancelled.remove(place.unwrap_or_else(|| panic!("not {expected}: {cancelled:?}")));
    }
    app.pillion().close();
}

/// The message of a request of a page, with a body of this length.
fn request(id: u32, web_socket: bool, length: usize) -> Vec<u8> {
    let method = if length == 0 { "GET" } else { "POST" };
    let mut head = json!({ "id": id, "sidecar": "one", "method": method, "path": "/", "headers": [] });
    if web_socket {
        head["webSocket"] = json!(true);
    }
    crate::desktop::ipc_message::encode(&head, &vec![b'x'; length]).unwrap()
}
