//! A real browser, with pages that are not the app's, against a sidecar on loopback: nothing of what they send reaches a
//! handler, and nothing that they could read comes back. What they send would arrive elsewhere: each attack is first
//! carried out against a server without a gate, and has to succeed there.

#![cfg(target_os = "linux")]

mod aios;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use end_to_end_tests::browser::{AttackerServer, Chromium, Learned, PAGE, Resolver};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use pillion::{Program, Spec, Supervisor};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Lets pages of the internet reach loopback without asking the user. What is left is what the sidecar stops.
const NOBODY_ASKS: &str = "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets,\
    BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights";

/// What reads the answer, where the server lets everybody read it.
#[rustfmt::skip]
const READS: [&str; 15] = [
    "fetch", "fetch post", "fetch put", "fetch json", "fetch header", "fetch token", "fetch from worker", "xhr",
    "image", "script", "module", "worker script", "stylesheet", "event source", "redirect fetch",
];

/// How many attacks on the sidecar there are in all, so that no attack is skipped unnoticed.
const ATTACKS: usize = 538;

/// A server that counts what reaches its handlers.
struct Counter {
    port: u16,
    token: Option<String>,
    /// Who stops it, unless that is an app.
    supervisor: Option<Supervisor>,
}

impl Counter {
    /// One that lets everybody in.
    async fn open() -> Result<Self> {
        Self::start(Self::program().arg("--open")).await
    }

    /// A sidecar as an app has it, for pages of this origin.
    async fn private(origin: &str) -> Result<Self> {
        Self::start(Self::program().private(true).allowed_origins([origin])).await
    }

    /// The one that an app has started.
    fn of_app(port: u16, token: &str) -> Self {
        Self { port, token: Some(token.to_owned()), supervisor: None }
    }

    fn program() -> Program {
        Program::new(env!("CARGO_BIN_EXE_hit-counter"))
    }

    async fn start(program: Program) -> Result<Self> {
        let (supervisor, _events) = Supervisor::start(Spec::run("counter", program));
        let port = supervisor.ready().await?.port.context("it has a port")?.get();
        let token = supervisor.access().await?.token.map(|token| token.reveal().to_owned());
        Ok(Self { port, token, supervisor: Some(supervisor) })
    }

    /// The right one, stolen.
    fn token(&self) -> Result<&str> {
        self.token.as_deref().context("a private sidecar has a token")
    }

    fn address(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// What reached a handler so far.
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

/// A page, by its address, and where its own server is.
struct Page {
    url: String,
    home: String,
    framed: bool,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `data:` address is the whole page.
        f.write_str(self.url.get(..40).unwrap_or(&self.url))
    }
}

/// The pages of an attacker who has a server on `port`, and a file on this machine.
fn pages_of_others(port: u16, folder: &Path) -> Result<Vec<Page>> {
    let at = |host: &str| format!("http://{host}:{port}");
    let page = |url: String, home: String| Page { url, home, framed: false };
    let file = folder.join("page.html");
    std::fs::write(&file, PAGE)?;
    let data: String = PAGE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut pages: Vec<Page> =
        // The last two share a name with the target, or look like an origin of Tauri's.
        ["evil.test", "localhost", "127.0.0.1", "tauri.localhost"].map(|host| page(at(host), at(host))).into();
    pages.push(page(format!("file://{}", file.display()), at("evil.test")));
    pages.push(page(format!("data:text/html,{data}"), at("evil.test")));
    pages.push(Page { url: at("evil.test") + "/sandboxed", home: at("evil.test"), framed: true });
    Ok(pages)
}

/// Carries out these attacks of the page that is shown against a server that lets everybody in, where each has to arrive.
async fn arrive(
    browser: &Chromium,
    page: &Page,
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
        ensure!(hits.contains(&path(name)), "{page}: {name} did not arrive; these did: {hits:?}");
    }
    Ok(learned)
}

/// Carries out these attacks of the page that is shown against a sidecar, with its right token where they have use for one.
/// None may reach a handler, or learn what is not harmless.
async fn fail(
    browser: &Chromium,
    page: &Page,
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

/// A browser that takes the pages of `server` to be as far away as those of the internet, and lets them all the same.
async fn browser(server: &AttackerServer, arguments: &[String]) -> Result<Chromium> {
    let far = format!("--ip-address-space-overrides=127.0.0.1:{}=public", server.port());
    let names = "--host-resolver-rules=MAP *.test 127.0.0.1";
    let mut all = vec![far, names.to_owned(), NOBODY_ASKS.to_owned()];
    all.extend_from_slice(arguments);
    Chromium::launch(&all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn pages_of_others_reach_no_handler_and_read_nothing() -> Result<()> {
    let server = attacker_server().await?;
    let browser = browser(&server, &[]).await?;
    let folder = tempfile::tempdir()?;
    let (open, private) = (Counter::open().await?, Counter::private("http://app.test").await?);
    let mut carried_out = 0;
    for page in pages_of_others(server.port(), folder.path())? {
        browser.show(&page.url, page.framed).await?;
        let attacks = browser.attacks().await?;
        let learned = arrive(&browser, &page, &attacks, &open.address("127.0.0.1"), &open).await?;
        for (name, learned) in attacks.iter().zip(learned) {
            let read = learned.content.is_some();
            ensure!(read || !READS.contains(&name.as_str()), "{page}: {name} read nothing");
        }
        for host in ["127.0.0.1", "localhost"] {
            browser.show(&page.url, page.framed).await?;
            let nothing = |learned: &Learned| *learned == Learned::default();
            fail(&browser, &page, &attacks, &private.address(host), &private, nothing).await?;
            carried_out += attacks.len();
        }
    }
    assert_eq!(carried_out, ATTACKS);
    open.stop().await;
    private.stop().await;
    Ok(())
}

/// The page of an attacker whose name moves to this machine once it is shown, so that the browser takes the counter to be
/// its own server, and where its attacks go.
async fn rebound(
    server: &AttackerServer,
    counter: &Counter,
) -> Result<(Chromium, Page, Vec<String>, Resolver)> {
    // Of the same port, since that is part of the origin.
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let attacker = AttackerServer::serve(SocketAddr::from((address, counter.port))).await?;
    let resolver = Resolver::start(address).await?;
    let browser = browser(server, &[resolver.argument()]).await?;
    let home = format!("http://evil.test:{}", server.port());
    let page = Page { url: counter.address("rebound.test"), home, framed: false };
    browser.show(&page.url, false).await?;
    let attacks = browser.attacks().await?;
    drop(attacker);
    resolver.answers(Ipv4Addr::LOCALHOST);
    Ok((browser, page, attacks, resolver))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_whose_name_moves_to_this_machine_reaches_no_handler() -> Result<()> {
    let server = attacker_server().await?;
    let (open, private) = (Counter::open().await?, Counter::private("http://app.test").await?);

    let (browser, page, attacks, _resolver) = rebound(&server, &open).await?;
    let learned = arrive(&browser, &page, &attacks, &page.url, &open).await?;
    ensure!(learned[0].is_secret(), "the browser takes it to be the page's own server: {learned:?}");

    let (browser, page, attacks, _resolver) = rebound(&server, &private).await?;
    // It may read what its own server says, and that is a refusal.
    let no_secret = |learned: &Learned| !learned.is_secret() && matches!(learned.status, None | Some(403));
    fail(&browser, &page, &attacks, &page.url, &private, no_secret).await?;
    open.stop().await;
    private.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_of_the_app_reaches_its_handlers_with_the_token_and_not_without() -> Result<()> {
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

/// What is not stopped, as docs/threat-model.md says: an open port shows. Nothing that is said there can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium: cargo xtask test"]
async fn a_page_of_others_finds_out_that_somebody_is_there_and_no_more() -> Result<()> {
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
    assert_eq!(ask("no-cors").await?, Value::Null, "nobody is there");
    Ok(())
}
