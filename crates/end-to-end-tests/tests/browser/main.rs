//! Attacks of foreign pages in a real browser on a sidecar on loopback: none of their requests reaches a handler, and they can
//! read no answer. Each attack first succeeds against a server without the admission layer.

#![cfg(target_os = "linux")]

mod aios;
mod starvation;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use end_to_end_tests::browser::{AttackerServer, Chromium, DnsServer, Learned, PAGE};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use pillion::{Program, Spec, Supervisor};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Allows pages of the internet to reach loopback without the user's permission. Only the sidecar itself then stops them.
const WITHOUT_PERMISSION: &str = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,\
    BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights";

/// The attacks that can read an answer if the server allows every page to.
#[rustfmt::skip]
const READS: [&str; 15] = [
    "fetch", "fetch post", "fetch put", "fetch json", "fetch header", "fetch token", "fetch from worker", "xhr",
    "image", "script", "module", "worker script", "stylesheet", "event source", "redirect fetch",
];

/// A server that records the requests that reach a handler.
struct Counter {
    port: u16,
    token: Option<String>,
    /// Its supervisor, unless an app has started it.
    supervisor: Option<Supervisor>,
}

impl Counter {
    /// A server without the admission layer.
    async fn open() -> Result<Self> {
        Self::start(Self::program().arg("--open")).await
    }

    /// A private sidecar for pages of this origin.
    async fn private(origin: &str) -> Result<Self> {
        Self::start(Self::program().private(true).allowed_origins([origin])).await
    }

    /// The sidecar of an app.
    fn of_app(port: u16, token: &str) -> Self {
        Self { port, token: Some(token.to_owned()), supervisor: None }
    }

    fn program() -> Program {
        Program::new(env!("CARGO_BIN_EXE_hit-counter"))
    }

    async fn start(program: Program) -> Result<Self> {
        Self::start_as(Spec::run("counter", program)).await
    }

    async fn start_as(spec: Spec) -> Result<Self> {
        let (supervisor, _events) = Supervisor::start(spec);
        let port = supervisor.ready().await?.port.context("no port")?.get();
        let token = supervisor.access().await?.token.map(|token| token.reveal().to_owned());
        Ok(Self { port, token, supervisor: Some(supervisor) })
    }

    /// The right token, which the attacker has stolen.
    fn token(&self) -> Result<&str> {
        self.token.as_deref().context("the server has no token")
    }

    fn address(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// The paths of the requests that have reached a handler.
    async fn hits(&self) -> Result<Vec<String>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::get("/hits").header("host", format!("127.0.0.1:{}", self.port));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status().is_success(), "/hits answered {}", response.status());
        let body = response.into_body().collect().await?.to_bytes();
        drop(sender);
        connection.await??;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn stop(self) {
        if let Some(supervisor) = self.supervisor {
            let _ = supervisor.stop().await;
        }
    }
}

/// An attacking page, and the URL of its own server.
struct AttackPage {
    url: String,
    home: String,
    framed: bool,
}

impl fmt::Display for AttackPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `data:` URL contains the whole page.
        f.write_str(self.url.get(..40).unwrap_or(&self.url))
    }
}

/// The pages of an attacker with a server on `port` and a file on this machine.
fn foreign_pages(port: u16, folder: &Path) -> Result<Vec<AttackPage>> {
    let at = |host: &str| format!("http://{host}:{port}");
    let page = |url: String, home: String| AttackPage { url, home, framed: false };
    let file = folder.join("page.html");
    std::fs::write(&file, PAGE)?;
    let data: String = PAGE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut pages: Vec<AttackPage> =
        // The host names of the target itself, and one that resembles an origin of Tauri.
        ["evil.test", "localhost", "127.0.0.1", "tauri.localhost"].map(|host| page(at(host), at(host))).into();
    pages.push(page(format!("file://{}", file.display()), at("evil.test")));
    pages.push(page(format!("data:text/html,{data}"), at("evil.test")));
    pages.push(AttackPage { url: at("evil.test") + "/sandboxed", home: at("evil.test"), framed: true });
    Ok(pages)
}

/// Carries out these attacks of the current page on a server without the admission layer. Each must reach a handler.
async fn assert_arrival(
    browser: &Chromium,
    page: &AttackPage,
    attacks: &[String],
    target: &str,
    open: &Counter,
) -> Result<Vec<Learned>> {
    let before = open.hits().await?.len();
    let mut learned = Vec::new();
    for name in attacks {
        learned.push(browser.attack(name, target, &page.home, "").await?);
    }
    let hits = open.hits().await?.split_off(before);
    for name in attacks {
        ensure!(hits.contains(&path(name)), "{page}: {name} did not arrive, only {hits:?}");
    }
    Ok(learned)
}

/// Carries out these attacks of the current page on a sidecar, with its right token if they use one. None may reach a handler,
/// or learn anything that is not harmless.
async fn assert_refused(
    browser: &Chromium,
    page: &AttackPage,
    attacks: &[String],
    target: &str,
    private: &Counter,
    is_harmless: impl Fn(&Learned) -> bool,
) -> Result<()> {
    for name in attacks {
        let learned = browser.attack(name, target, &page.home, private.token()?).await?;
        ensure!(is_harmless(&learned), "{page}: {name} against {target} read {learned:?}");
        let hits = private.hits().await?;
        ensure!(hits.is_empty(), "{page}: {name} against {target} reached a handler: {hits:?}");
    }
    Ok(())
}

fn path(attack: &str) -> String {
    format!("/{}", attack.replace(' ', "%20"))
}

async fn attacker_server() -> Result<AttackerServer> {
    Ok(AttackerServer::serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?)
}

/// A browser that treats the pages of `server` as pages of the internet, and allows them to reach loopback.
async fn browser(server: &AttackerServer, arguments: &[String]) -> Result<Chromium> {
    let mut all = vec![WITHOUT_PERMISSION.to_owned()];
    all.extend_from_slice(arguments);
    careful_browser(server, &all).await
}

/// A browser that treats the pages of `server` as pages of the internet, which need the user's permission to reach loopback.
async fn careful_browser(server: &AttackerServer, arguments: &[String]) -> Result<Chromium> {
    let far = format!("--ip-address-space-overrides=127.0.0.1:{}=public", server.port());
    let names = "--host-resolver-rules=MAP *.test 127.0.0.1";
    let mut all = vec![far, names.to_owned()];
    all.extend_from_slice(arguments);
    Chromium::launch(&all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn foreign_pages_reach_no_handler_and_read_nothing() -> Result<()> {
    let server = attacker_server().await?;
    let browser = browser(&server, &[]).await?;
    let folder = tempfile::tempdir()?;
    let (open, private) = (Counter::open().await?, Counter::private("http://app.test").await?);
    let mut attack_count = 0;
    for page in foreign_pages(server.port(), folder.path())? {
        browser.show(&page.url, page.framed).await?;
        let attacks = browser.attacks().await?;
        ensure!(READS.iter().all(|name| attacks.iter().any(|known| known == name)), "{page} lacks an attack");
        let learned = assert_arrival(&browser, &page, &attacks, &open.address("127.0.0.1"), &open).await?;
        for (name, learned) in attacks.iter().zip(learned) {
            let read = learned.content.is_some();
            ensure!(read || !READS.contains(&name.as_str()), "{page}: {name} read nothing");
        }
        for host in ["127.0.0.1", "localhost"] {
            browser.show(&page.url, page.framed).await?;
            let learned_nothing = |learned: &Learned| *learned == Learned::default();
            assert_refused(&browser, &page, &attacks, &private.address(host), &private, learned_nothing)
                .await?;
            attack_count += attacks.len();
        }
    }
    eprintln!("{attack_count} attacks");
    open.stop().await;
    private.stop().await;
    Ok(())
}

/// Loads a page of an attacker whose host name then resolves to this machine (DNS rebinding). The browser takes the counter for
/// the page's own server.
async fn rebound(
    server: &AttackerServer,
    counter: &Counter,
) -> Result<(Chromium, AttackPage, Vec<String>, DnsServer)> {
    // With the same port, because the port is part of the origin.
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let attacker = AttackerServer::serve(SocketAddr::from((address, counter.port))).await?;
    let resolver = DnsServer::start(address).await?;
    let browser = browser(server, &[resolver.argument()]).await?;
    let home = format!("http://evil.test:{}", server.port());
    let page = AttackPage { url: counter.address("rebound.test"), home, framed: false };
    browser.show(&page.url, false).await?;
    let attacks = browser.attacks().await?;
    drop(attacker);
    resolver.answers(Ipv4Addr::LOCALHOST);
    Ok((browser, page, attacks, resolver))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_after_dns_rebinding_reaches_no_handler() -> Result<()> {
    let server = attacker_server().await?;
    let (open, private) = (Counter::open().await?, Counter::private("http://app.test").await?);

    let (browser, page, attacks, _resolver) = rebound(&server, &open).await?;
    let learned = assert_arrival(&browser, &page, &attacks, &page.url, &open).await?;
    ensure!(learned[0].is_secret(), "the browser does not take it for the page's own server: {learned:?}");

    let (browser, page, attacks, _resolver) = rebound(&server, &private).await?;
    // The page may read the answer of its own server, which is a refusal.
    let no_secret = |learned: &Learned| !learned.is_secret() && matches!(learned.status, None | Some(403));
    assert_refused(&browser, &page, &attacks, &page.url, &private, no_secret).await?;
    open.stop().await;
    private.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_of_the_app_reaches_handlers_only_with_the_token() -> Result<()> {
    let server = attacker_server().await?;
    let browser = browser(&server, &[]).await?;
    let home = format!("http://app.test:{}", server.port());
    let private = Counter::private(&home).await?;
    browser.show(&home, false).await?;
    for name in browser.attacks().await? {
        let learned = browser.attack(&name, &private.address("127.0.0.1"), &home, private.token()?).await?;
        assert_eq!(learned.is_secret(), name == "fetch token", "{name}: {learned:?}");
    }
    assert_eq!(private.hits().await?, [path("fetch token"), path("web socket token")]);
    private.stop().await;
    Ok(())
}

/// A page can detect an open port, as docs/threat-model.md says. It cannot read an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_foreign_page_detects_the_port_and_reads_nothing() -> Result<()> {
    const ASK: &str = "
        const [url, mode, done] = arguments;
        fetch(url, { mode }).then((response) => done(response.type), () => done(null));
    ";
    let server = attacker_server().await?;
    let browser = browser(&server, &[]).await?;
    let private = Counter::private("http://app.test").await?;
    let health = private.address("127.0.0.1") + "/health";
    browser.show(&format!("http://evil.test:{}", server.port()), false).await?;
    let ask = async |mode: &str| browser.execute(ASK, vec![json!(health), json!(mode)]).await;
    assert_eq!((ask("no-cors").await?, ask("cors").await?), (json!("opaque"), Value::Null));
    private.stop().await;
    assert_eq!(ask("no-cors").await?, Value::Null, "the port is closed");
    Ok(())
}
