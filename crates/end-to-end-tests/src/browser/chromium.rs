//! Chromium without a window, driven through `chromedriver`.

#![expect(clippy::disallowed_methods, reason = "the driver is owned here, and ended on drop")]

use std::{
    io::{self, BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use fantoccini::{
    Client, ClientBuilder,
    wd::{Capabilities, TimeoutConfiguration},
};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::SECRET;
use integration_tests::{ProcessMarker, TEST_TIMEOUT};

/// What keeps a fresh Chromium from calling home, and from asking.
const QUIET: [&str; 7] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Runs one attack of the page, which resolves when the browser is done with it.
const ATTACK: &str = "
    const [name, target, at, done] = arguments;
    attack(name, target, at).then(done, (error) => done({ failed: String(error) }));
";

/// What a page could read of an answer.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// Of its content: the text, or something that the content decides.
    pub content: Option<Value>,
    /// Its status.
    pub status: Option<u16>,
}

impl Learned {
    /// Whether it is what a handler tells.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.as_str() == Some(SECRET))
    }
}

/// The browser. Dropping it ends the driver and all that came of it.
#[derive(Debug)]
pub struct Chromium {
    client: Client,
    _driver: Driver,
}

impl Chromium {
    /// Starts the browser with these arguments, as chromium(1) takes them.
    ///
    /// # Errors
    /// The driver or the browser did not start.
    pub async fn launch(arguments: &[String]) -> Result<Self> {
        let mut driver = Driver::start()?;
        let address = format!("http://127.0.0.1:{}", driver.port()?);
        let mut all: Vec<&str> = QUIET.to_vec();
        all.extend(arguments.iter().map(String::as_str));
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to run as root with its sandbox.
            all.push("--no-sandbox");
        }
        let options = ("goog:chromeOptions".to_owned(), json!({ "args": all }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(Capabilities::from_iter([options])).connect(&address);
        let client = timeout(TEST_TIMEOUT, connecting).await.context("Chromium takes too long")?;
        let client = client.context("Chromium did not start")?;
        let patience = TimeoutConfiguration::new(Some(TEST_TIMEOUT), Some(TEST_TIMEOUT), None);
        client.update_timeouts(patience).await?;
        Ok(Self { client, _driver: driver })
    }

    /// Shows a page; the attacks are those of its first frame, if `framed`.
    ///
    /// # Errors
    /// It did not load.
    pub async fn show(&self, url: &str, framed: bool) -> Result<()> {
        self.client.goto(url).await?;
        if framed {
            self.client.enter_frame(0).await?;
        }
        Ok(())
    }

    /// The attacks that the page knows, in this settings.
    ///
    /// # Errors
    /// It is not the page.
    pub async fn attacks(&self) -> Result<Vec<String>> {
        let names = "return Object.keys({ ...attacks, ...(isSecureContext && origin !== 'null' && attacksFromSecurePages) })";
        Ok(serde_json::from_value(self.client.execute(names, vec![]).await?)?)
    }

    /// Has the page carry out one attack. `home` is where its own server is, `token` the right one, stolen.
    ///
    /// # Errors
    /// The browser did not get to its end.
    pub async fn attack(&self, name: &str, target: &str, home: &str, token: &str) -> Result<Learned> {
        let at = json!({ "home": home, "token": token });
        let arguments = vec![json!(name), json!(target), at];
        let answer = self.client.execute_async(ATTACK, arguments).await;
        let answer = answer.with_context(|| format!("{name} against {target} came to no end"))?;
        serde_json::from_value(answer.clone()).with_context(|| format!("{name}: {answer}"))
    }

    /// Runs a script on the page, and answers what it gives to its last argument, a function.
    ///
    /// # Errors
    /// It threw.
    pub async fn execute(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.client.execute_async(script, arguments).await?)
    }
}

/// `chromedriver`, and all that comes of it.
#[derive(Debug)]
struct Driver {
    child: Child,
    marker: ProcessMarker,
    /// The browser's profile, and what is left behind by whoever is killed.
    _home: TempDir,
}

impl Driver {
    fn start() -> Result<Self> {
        let (marker, home) = (ProcessMarker::new()?, tempfile::tempdir()?);
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .env(ProcessMarker::VARIABLE, marker.value())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromedriver: use `cargo xtask test`")?;
        Ok(Self { child, marker, _home: home })
    }

    /// The port that it says it has chosen. What else it says is read, and nobody's concern.
    fn port(&mut self) -> Result<u16> {
        const BEFORE: &str = "started successfully on port ";
        let mut output = BufReader::new(self.child.stdout.take().context("its stdout is not piped")?);
        let mut line = String::new();
        while output.read_line(&mut line)? > 0 {
            if let Some((_, port)) = line.trim_end().split_once(BEFORE) {
                let port = port.trim_end_matches('.').parse()?;
                thread::spawn(move || io::copy(&mut output, &mut io::sink()));
                return Ok(port);
            }
            line.clear();
        }
        bail!("chromedriver named no port")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let alive = self.marker.alive().unwrap_or_default();
        for process in &alive {
            // One that has just ended cannot be killed, and need not be.
            let _ = process.signal(Signal::KILL);
        }
        let _ = self.child.wait();
        let deadline = Instant::now() + TEST_TIMEOUT;
        let _ = alive.iter().all(|process| process.ends_before(deadline));
    }
}
