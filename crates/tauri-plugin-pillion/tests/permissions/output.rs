//! How a page that may read a sidecar's output gets it.

use super::*;

#[test]
fn a_page_that_may_read_output_gets_more_of_it_once_it_says_what_it_has_handled() {
    let _alone = READS.lock().unwrap();
    // More than four messages of it are kept, however it is divided into reads.
    let script = format!("yes {} | head -n 100000", "x".repeat(99));
    let flood = json!({ "command": "sh", "args": ["-c", script], "restart": "never", "log": false });
    let app = app_with(&json!(["pillion:allow-logs"]), &json!({ "one": flood }));
    let (main, other) = (window(&app, "main"), window(&app, "other"));
    let mut watch = app.pillion().sidecar("one").unwrap().watch();
    tauri::async_runtime::block_on(async { while watch.next().await.unwrap().state != State::Failed {} });
    DELIVERED.0.lock().unwrap().clear();
    let received = |count| {
        let (delivered, changed) = &DELIVERED;
        let delivered =
            changed.wait_while(delivered.lock().unwrap(), |delivered| delivered.len() < count).unwrap();
        assert!(
            delivered.len() == count && delivered.iter().all(|log| log["kind"] == "lines"),
            "{delivered:?}"
        );
    };
    let id = object(response(&main, "logs", "one").unwrap());
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
