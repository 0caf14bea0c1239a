//! How a page that may read a sidecar's output gets it.

use super::*;

#[test]
fn a_page_that_may_read_output_gets_more_of_it_once_it_says_what_it_has_handled() {
    // More than four messages of it are kept, however it is divided into reads.
    let script = format!("yes {} | head -n 100000", "x".repeat(99));
    let flood = json!({ "command": "sh", "args": ["-c", script], "restart": "never", "log": false });
    let app = app_with(&json!(["pillion:allow-logs"]), &json!({ "one": flood }));
    let (main, other) = (window(&app, "main"), window(&app, "other"));
    let mut watch = app.pillion().sidecar("one").unwrap().watch();
    tauri::async_runtime::block_on(async { while watch.next().await.unwrap().state != State::Failed {} });
    let channel = new_id();
    let received = |count| {
        let delivered = delivered(channel, count);
        assert!(
            delivered.len() == count && delivered.iter().all(|log| log["kind"] == "lines"),
            "{delivered:?}"
        );
    };
    let id = object(invoke(&main, "logs", on_channel("one", channel)).unwrap());
    let handled = |window, messages: u32| {
        let handled = json!({ "id": id, "messages": messages });
        invoke(window, "logs", json!({ "sidecar": "one", "handled": handled }).into())
    };
    received(4);
    assert!(handled(&other, 2).is_err(), "it may read no output");
    assert_eq!(object(handled(&main, 2).unwrap()), id);
    received(6);
    assert_eq!(
        invoke(&main, "logs", json!({ "sidecar": "one" }).into()).unwrap_err(),
        "logs without a channel"
    );
    app.pillion().close();
}
