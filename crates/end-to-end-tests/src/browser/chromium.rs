//! A headless Chromium, driven through `chromedriver`.

#![expect(clippy::disallowed_methods, reason = "drop kills the driver")]

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
use integration_tests::{TEST_TIMEOUT, TestMarker};

/// Arguments that prevent background traffic and dialogs.
const BASE_ARGUMENTS: [&str; 7] = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Runs one attack of the page. It resolves when the browser has finished.
const ATTACK: &str = "
    const [name, target, at, done] = arguments;
    attack(name, target, at).then(done, (error) => done({ failed: String(error) }));
";

/// The part of an answer that a page could read.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    /// Its content: the text, or a value that depends on the content.
    pub content: Option<Value>,
    /// Its status.
    pub status: Option<u16>,
}

impl Learned {
    /// Whether it is the answer of a handler.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.as_str() == Some(SECRET))
    }
}

/// The browser. Drop kills the driver and all its processes.
#[derive(Debug)]
pub struct Chromium {
    client: Client,
    _driver: Chromedriver,
}

impl Chromium {
    /// Starts the browser with these arguments (chromium(1)).
    ///
    /// # Errors
    /// The driver or the browser did not start.
    pub async fn launch(arguments: &[String]) -> Result<Self> {
        let mut driver = Chromedriver::start()?;
        let address = format!("http://127.0.0.1:{}", driver.port()?);
        let mut all: Vec<&str> = BASE_ARGUMENTS.to_vec();
        all.extend(arguments.iter().map(String::as_str));
        if rustix::process::geteuid().is_root() {
            // Chromium's sandbox does not run as root.
            all.push("--no-sandbox");
        }
        let options = ("goog:chromeOptions".to_owned(), json!({ "args": all }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(Capabilities::from_iter([options])).connect(&address);
        let client = timeout(TEST_TIMEOUT, connecting).await.context("Chromium did not start in time")?;
        let client = client.context("Chromium did not start")?;
        let timeouts = TimeoutConfiguration::new(Some(TEST_TIMEOUT), Some(TEST_TIMEOUT), None);
        client.update_timeouts(timeouts).await?;
        Ok(Self { client, _driver: driver })
    }

    /// Loads a page. If `framed`, the attacks run in its first frame.
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

    /// The names of the page's attacks, in order.
    ///
    /// # Errors
    /// The page has no attacks.
    pub async fn attacks(&self) -> Result<Vec<String>> {
        let names = "return Object.keys({ ...attacks, ...(isSecureContext && origin !== 'null' && attacksFromSecurePages) })";
        Ok(serde_json::from_value(self.client.execute(names, vec![]).await?)?)
    }

    /// Lets the page carry out one attack. `home` is the URL of its own server, and `token` the stolen token of the sidecar.
    ///
    /// # Errors
    /// The attack did not end.
    pub async fn attack(&self, name: &str, target: &str, home: &str, token: &str) -> Result<Learned> {
        let at = json!({ "home": home, "token": token });
        let arguments = vec![json!(name), json!(target), at];
        let answer = self.client.execute_async(ATTACK, arguments).await;
        let answer = answer.with_context(|| format!("{name} against {target} did not end"))?;
        serde_json::from_value(answer.clone()).with_context(|| format!("{name}: {answer}"))
    }

    /// Runs a script on the page. Returns the value that the script passes to its last argument, a function.
    ///
    /// # Errors
    /// The script threw an exception.
    pub async fn execute(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.client.execute_async(script, arguments).await?)
    }
}

/// `chromedriver` and all its processes.
#[derive(Debug)]
struct Chromedriver {
    child: Child,
    marker: TestMarker,
    /// The browser's profile, and the temporary files of killed processes.
    _home: TempDir,
}

impl Chromedriver {
    fn start() -> Result<Self> {
        let (marker, home) = (TestMarker::new()?, tempfile::tempdir()?);
        let child = Command::new("chromedriver")
            .arg("--port=0")
            .env(TestMarker::VARIABLE, marker.value())
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start chromedriver: use `cargo xtask test`")?;
        Ok(Self { child, marker, _home: home })
    }

    /// Reads the port that it has chosen from its output. Drains the rest of the output.
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
        bail!("chromedriver did not print its port")
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let alive = self.marker.alive().unwrap_or_default();
        for process in &alive {
            // It may have ended in the meantime.
            let _ = process.signal(Signal::KILL);
        }
        let _ = self.child.wait();
        let deadline = Instant::now() + TEST_TIMEOUT;
        let _ = alive.iter().all(|process| process.ends_before(deadline));
    }
}
