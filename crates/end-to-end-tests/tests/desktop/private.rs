//! The token of the backend in the real webview, and the pages that receive it.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use end_to_end_tests::webview::{Page, ShownState, launch_fake_app};
use integration_tests::helper_program;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{PORT, kill_and_wait_for_restart, launch, screenshot_file};

const VERSION: &str = "[data-testid=backend-version]";

/// The status and the text that the page's own `fetch` receives without the client, or its error.
async fn fetch(page: &Page, url: &str, token: Option<&str>) -> Result<Value> {
    let headers = token.map_or(json!({}), |token| json!({ "authorization": format!("Bearer {token}") }));
    page.execute(&format!(
        "return fetch({}, {{ headers: {headers} }}).then(
            async (answer) => [answer.status, await answer.text()],
            (error) => String(error),
        )",
        json!(url)
    ))
    .await
}

/// The URL and the token that the page receives with its permission.
async fn access(page: &Page) -> Result<(String, String)> {
    let access = page.invoke("plugin:pillion|connect", json!({ "sidecar": "backend" })).await?;
    let text = |name: &str| access[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    Ok((text("url")?, text("token")?))
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_client_is_answered_and_a_plain_fetch_is_not() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    // Clients with the token see the version.
    assert_eq!(page.text(VERSION).await?, env!("CARGO_PKG_VERSION"));
    page.screenshot(&screenshot_file("private")).await?;

    let url = format!("http://127.0.0.1:{}", page.text(PORT).await?);
    let answer = fetch(page, &format!("{url}/notes"), None).await?;
    assert_eq!(answer[0], 401, "{answer}");
    let answer = fetch(page, &format!("{url}/health"), None).await?;
    assert_eq!(answer, json!([200, r#"{"status":"ok"}"#]), "a client without the token sees no more");
    let answer = fetch(page, &format!("{url}/notes?token={}", access(page).await?.1), None).await?;
    assert_eq!(answer[0], 401, "a token in the URL does not count: {answer}");

    // With the token the request reaches the router, which does not have this path.
    let (given, token) = access(page).await?;
    assert_eq!(given, url);
    assert_eq!(fetch(page, &format!("{url}/notes"), Some(&token)).await?[0], 404);
    let globals = page
        .execute("return JSON.stringify(Object.entries(window).filter(([, v]) => typeof v === 'string'))");
    assert!(!globals.await?.to_string().contains(&token), "the token is a property of the window");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn after_a_crash_the_page_uses_the_new_token() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    page.execute("window.same = true").await?;
    let (_, first) = access(page).await?;

    kill_and_wait_for_restart(&app).await?;
    let (url, second) = access(page).await?;
    assert_ne!(first, second);
    assert_eq!(fetch(page, &format!("{url}/notes"), Some(&first)).await?[0], 401);
    assert_eq!(fetch(page, &format!("{url}/notes"), Some(&second)).await?[0], 404);
    assert_eq!(page.text(VERSION).await?, env!("CARGO_PKG_VERSION"), "the request had the new token");
    assert_eq!(page.execute("return window.same").await?, json!(true), "the page was reloaded");
    page.screenshot(&screenshot_file("private-after-a-crash")).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_window_may_use_only_the_sidecars_of_its_scope() -> Result<()> {
    let app = launch().await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    for command in ["connect", "watch", "restart"] {
        let asked = json!({ "sidecar": "database", "channel": "__CHANNEL__:0" });
        let refused = app.page().invoke(&format!("plugin:pillion|{command}"), asked).await;
        let refused = refused.map_err(|error| error.to_string());
        assert!(
            refused.as_ref().is_err_and(|error| error.contains("database") && error.contains("not allowed")),
            "{command}: {refused:?}"
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_window_without_the_capability_is_refused() -> Result<()> {
    // An app with a sidecar and without capabilities.
    let sidecar = helper_program("fake-sidecar")?;
    let app = launch_fake_app(&sidecar, &["listen", "ok", "announce", "park"], &[]).await?;

    for command in ["connect", "ready", "status", "watch", "restart", "swap", "stop"] {
        let asked = json!({ "sidecar": "sidecar", "channel": "__CHANNEL__:0" });
        let refused = app.page().invoke(&format!("plugin:pillion|{command}"), asked).await;
        let refused = refused.map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("not allowed")), "{command}: {refused:?}");
    }
    let shell = app.processes()?.into_iter().find(|process| process.runs("fake-app")).context("no app")?;
    shell.signal(Signal::KILL)?;
    let left = app.end().await?;
    ensure!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}

/// A server that records the heads of its requests, and allows every page everything. `/away` redirects to the port `other`, and
/// `/on` to the server itself.
async fn redirecting(other: Option<u16>) -> Result<(u16, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&recorded), other.unwrap_or(port)));
        }
    });
    Ok((port, heads))
}

async fn answer(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, other: u16) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?.to_ascii_lowercase();
    let status = match head.split(' ').nth(1) {
        _ if head.starts_with("options") => "204 No Content".to_owned(),
        Some("/away") => format!("307 Temporary Redirect\r\nLocation: http://127.0.0.1:{other}/there"),
        Some("/on") => "307 Temporary Redirect\r\nLocation: /there".to_owned(),
        _ => "200 OK".to_owned(),
    };
    heads.lock().map_err(|error| anyhow::anyhow!("{error}"))?.push(head);
    let allow = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: authorization";
    stream
        .write_all(
            format!("HTTP/1.1 {status}\r\n{allow}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_redirect_does_not_take_the_token_to_another_origin() -> Result<()> {
    let app = launch().await?;
    let (other, foreign) = redirecting(None).await?;
    let (port, own) = redirecting(Some(other)).await?;
    for path in ["on", "away"] {
        let answer = fetch(app.page(), &format!("http://127.0.0.1:{port}/{path}"), Some("secret")).await?;
        assert_eq!(answer[0], 200, "{answer}");
    }
    let carried = |heads: &Mutex<Vec<String>>| -> Result<Vec<bool>> {
        let heads = heads.lock().map_err(|error| anyhow::anyhow!("{error}"))?;
        let asked = heads.iter().filter(|head| head.starts_with("get"));
        Ok(asked.map(|head| head.contains("authorization: bearer secret")).collect())
    };
    assert_eq!(carried(&own)?, [true, true, true], "/on, /there and /away");
    assert_eq!(carried(&foreign)?, [false], "/there at another origin");
    Ok(())
}
