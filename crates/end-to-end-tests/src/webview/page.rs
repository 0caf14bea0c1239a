//! What the window shows, read and used through WebDriver.

use std::{io::Cursor, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use fantoccini::{
    Client, ClientBuilder, Locator,
    elements::Element,
    wd::{Capabilities, TimeoutConfiguration},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Hue, driver::DriverProcess};
use integration_tests::TEST_TIMEOUT;

/// The states of the backend as the page names them in `data-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownState {
    /// Not there yet.
    Connecting,
    /// There.
    Connected,
    /// Not there, and why.
    Error,
}

/// The page in the app's window.
#[derive(Debug)]
pub struct Page(Client);

/// Resolves as soon as the status element is in the state of the first argument, which the page itself notices.
const IN_STATE: &str = r#"
    const [wanted, done] = arguments;
    const check = () => {
        const status = document.querySelector('[data-testid="backend-status"]');
        if (status?.dataset.state !== wanted) return;
        observer.disconnect();
        done(true);
    };
    const observer = new MutationObserver(check);
    observer.observe(document, { subtree: true, childList: true, attributeFilter: ["data-state"] });
    check();
"#;

/// Resolves with the text of the element of the first argument as soon as that is a value, and another than the second.
const REPLACED: &str = r#"
    const [selector, old, done] = arguments;
    const check = () => {
        const text = document.querySelector(selector)?.textContent ?? "";
        if (["", "–", old].includes(text)) return;
        observer.disconnect();
        done(text);
    };
    const observer = new MutationObserver(check);
    observer.observe(document, { subtree: true, childList: true, characterData: true });
    check();
"#;

/// Resolves as soon as the page is as large as the arguments say and was painted at that size.
const SIZED: &str = "
    const [width, height, done] = arguments;
    const check = () => {
        if (innerWidth !== width || innerHeight !== height) return;
        removeEventListener('resize', check);
        requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
    };
    addEventListener('resize', check);
    check();
";

/// Resolves once what the page shows now was painted: the callback runs before a frame, the next one after it.
const PAINTED: &str = "
    const [done] = arguments;
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
";

/// Asks the shell as the page's own code does, and answers `{ok}` or `{error}`.
const INVOKE: &str = "
    const [command, payload, done] = arguments;
    window.__TAURI_INTERNALS__.invoke(command, payload).then(
        (ok) => done({ ok }),
        (error) => done({ error: error instanceof Error ? String(error) : error }),
    );
";

impl Page {
    pub(super) async fn open(driver: &DriverProcess, app: &Path) -> Result<Self> {
        let capabilities = Capabilities::from_iter([driver.kind.application(app)]);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(capabilities).connect(&driver.url);
        let client = connecting_within(connecting).await?;
        let patience =
            TimeoutConfiguration::new(Some(TEST_TIMEOUT), Some(TEST_TIMEOUT), Some(Duration::ZERO));
        client.update_timeouts(patience).await?;
        Ok(Self(client))
    }

    /// The text of the first element that a CSS selector finds.
    ///
    /// # Errors
    /// There is none.
    pub async fn text(&self, selector: &str) -> Result<String> {
        Ok(self.element(selector).await?.text().await?)
    }

    /// The colour of that element's text, in a word.
    ///
    /// # Errors
    /// There is no such element, or its colour has no name here.
    pub async fn hue(&self, selector: &str) -> Result<Hue> {
        Hue::of(&self.element(selector).await?.css_value("color").await?)
    }

    /// Clicks that element.
    ///
    /// # Errors
    /// There is none, or it is covered.
    pub async fn click(&self, selector: &str) -> Result<()> {
        Ok(self.element(selector).await?.click().await?)
    }

    /// Waits until the page shows this state of the backend.
    ///
    /// # Errors
    /// It did not within [`TEST_TIMEOUT`]; the error says what it showed instead.
    pub async fn wait_for_state(&self, state: ShownState) -> Result<()> {
        if self.0.execute_async(IN_STATE, vec![json!(state.name())]).await.is_ok() {
            return Ok(());
        }
        let shown = self.text("body").await?;
        bail!("the page did not get {} within {TEST_TIMEOUT:?}; it shows:\n{shown}", state.name())
    }

    /// Waits until an element shows another value than `old`, and answers that. A dash is no value.
    ///
    /// # Errors
    /// It did not within [`TEST_TIMEOUT`]; the error says what the page showed instead.
    pub async fn wait_for_change(&self, selector: &str, old: &str) -> Result<String> {
        if let Ok(text) = self.0.execute_async(REPLACED, vec![json!(selector), json!(old)]).await {
            return Ok(text.as_str().unwrap_or_default().to_owned());
        }
        let shown = self.text("body").await?;
        bail!("{selector} did not change from {old} within {TEST_TIMEOUT:?}; the page shows:\n{shown}")
    }

    /// Calls a command of the shell.
    ///
    /// # Errors
    /// The command was refused or failed: then with what it answered.
    pub async fn invoke(&self, command: &str, payload: Value) -> Result<Value> {
        let mut answer = self.0.execute_async(INVOKE, vec![json!(command), payload]).await?;
        match answer.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => bail!("{command}: {}", answer["error"]),
        }
    }

    /// Runs a script, and answers what it returns.
    ///
    /// # Errors
    /// It threw.
    pub async fn execute(&self, script: &str) -> Result<Value> {
        Ok(self.0.execute(script, Vec::new()).await?)
    }

    /// Loads the page anew, and waits until it is there.
    ///
    /// # Errors
    /// It did not load.
    pub async fn reload(&self) -> Result<()> {
        Ok(self.0.refresh().await?)
    }

    /// Goes on with the page in the window of this label.
    ///
    /// # Errors
    /// There is no such window.
    pub async fn switch_to(&self, label: &str) -> Result<()> {
        for window in self.0.windows().await? {
            self.0.switch_to_window(window).await?;
            if self.execute("return __TAURI_INTERNALS__.metadata.currentWindow.label").await? == label {
                return Ok(());
            }
        }
        bail!("no window is called {label}")
    }

    /// Writes what the window shows to `file`, as PNG.
    ///
    /// # Errors
    /// The driver made no picture, there is nothing on it, or it could not be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        // A page can be in a state that nobody has seen yet: the window would still be blank.
        self.0.execute_async(PAINTED, Vec::new()).await?;
        let picture = self.0.screenshot().await?;
        if is_blank(&picture)? {
            bail!("the window is blank");
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(super) async fn sized(&self, width: u32, height: u32) -> Result<()> {
        let sized = self.0.execute_async(SIZED, vec![json!(width), json!(height)]).await;
        sized.with_context(|| format!("the page did not become {width} by {height}")).map(drop)
    }

    async fn element(&self, selector: &str) -> Result<Element> {
        let found = self.0.find(Locator::Css(selector)).await;
        found.with_context(|| format!("no {selector} on the page"))
    }
}

impl ShownState {
    fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Error => "error",
        }
    }
}

/// Whether all pixels of a PNG are the same.
fn is_blank(picture: &[u8]) -> Result<bool> {
    let mut reader = png::Decoder::new(Cursor::new(picture)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("the picture is too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    let pixel = frame.color_type.samples() * usize::from(frame.bit_depth as u8) / 8;
    let mut pixels = pixels[..frame.buffer_size()].chunks_exact(pixel.max(1));
    let first = pixels.next();
    Ok(pixels.all(|pixel| Some(pixel) == first))
}

/// A driver waits for ever for an app that never shows a window.
async fn connecting_within(
    connecting: impl Future<Output = Result<Client, fantoccini::error::NewSessionError>>,
) -> Result<Client> {
    let session = timeout(TEST_TIMEOUT, connecting).await;
    let session = session.with_context(|| format!("the app showed no window within {TEST_TIMEOUT:?}"))?;
    session.context("the app did not start")
}
