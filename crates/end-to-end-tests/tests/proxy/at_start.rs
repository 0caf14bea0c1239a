//! What the app tells a page at its start.

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::Page;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::launch;

/// What the app has told this page, as the first script of the page has found it.
async fn told(page: &Page) -> Result<Value> {
    let told = page.execute("return window.told").await?;
    let told: Value = serde_json::from_str(told.as_str().context("the page has no such script")?)?;
    Ok(told.get("sidecars").cloned().unwrap_or_default())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_page_is_told_what_its_permissions_allow_before_its_first_script() -> Result<()> {
    for transport in ["tcp", "local"] {
        let app = launch(transport, &["calling", "connecting", "calling-elsewhere"]).await?;
        let page = app.page();
        for (window, may_watch, may_connect) in [
            ("main", false, false),
            ("calling", true, true),
            ("connecting", true, true),
            ("calling-elsewhere", true, false),
        ] {
            page.switch_to(window).await?;
            // By now the sidecar is ready.
            page.reload().await?;
            let told = told(page).await?;
            let shown = format!("{transport}, {window}: {told}");
            assert_eq!(told["sidecar"]["status"]["state"] == "ready", may_watch, "{shown}");
            assert_eq!(told["sidecar"]["access"].is_object(), may_connect, "{shown}");
            if may_connect {
                let access = page.invoke("plugin:pillion|connect", json!({ "sidecar": "sidecar" })).await?;
                for field in ["url", "pid", "token"] {
                    assert_eq!(told["sidecar"]["access"][field], access[field], "{shown}");
                }
                assert_eq!(access["token"].is_string(), transport == "tcp", "{shown}");
            }
            let kept = page.execute("return 'pillion' in __TAURI_INTERNALS__.plugins").await?;
            assert_eq!(
                kept,
                json!(false),
                "{shown}: it has the token, and is removed when the page has loaded"
            );
        }
    }
    Ok(())
}

/// Serves one page, at an address that it returns. Its script keeps what the app has told it, as that of `fake-app` does.
pub(super) async fn foreign_page() -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The webview may open a connection and send no request.
            tokio::spawn(serve(stream));
        }
    });
    Ok(format!("http://127.0.0.1:{port}/"))
}

/// Answers one request: with the page, or with its script, which is a file as in `fake-app`, so that it runs as late as there.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let (kind, body) = if head.starts_with(b"GET /at-start.js ") {
        ("text/javascript", include_str!("../../../../apps/fake-app/page/at-start.js"))
    } else {
        ("text/html", "<!doctype html><script src=\"/at-start.js\"></script>")
    };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_page_of_another_origin_in_the_same_window_is_told_nothing() -> Result<()> {
    let app = launch("tcp", &["calling"]).await?;
    let page = app.page();
    page.switch_to("calling").await?;
    page.reload().await?;
    assert!(told(page).await?["sidecar"]["access"]["token"].is_string(), "the app's own page is told");

    let url = foreign_page().await?;
    page.navigate(&url).await?;
    assert_eq!(page.execute("return location.href").await?, json!(url));
    assert_eq!(told(page).await?, Value::Null);
    Ok(())
}
