//! The page in the window, read and used through WebDriver.

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

use super::{
    Hue,
    driver::{self, DriverProcess},
};
use integration_tests::TEST_TIMEOUT;

/// The states of the backend as the page names them in `data-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownState {
    /// The page waits for it.
    Connecting,
    /// The page is connected to it.
    Connected,
    /// The page shows why it is down.
    Error,
}

/// The page in the app's window.
#[derive(Debug)]
pub struct Page(Client);

/// Resolves as soon as the status element has the state of the first argument. An observer in the page notices that.
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

/// Resolves with the text of the element of the first argument as soon as it is a value other than the second argument.
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

/// Resolves as soon as the page has the size of the arguments and has been painted at that size.
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

/// Resolves when the current page has been painted: the first callback runs before a frame, and the second one after it.
const PAINTED: &str = "
    const [done] = arguments;
    requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
";

/// Invokes a command as the page's own code does. Resolves with `{ok}` or `{error}`.
const INVOKE: &str = "
    const [command, payload, done] = arguments;
    window.__TAURI_INTERNALS__.invoke(command, payload).then(
        (ok) => done({ ok }),
        (error) => done({ error: error instanceof Error ? String(error) : error }),
    );
";

impl Page {
    pub(super) async fn open(driver: &DriverProcess, app: &Path) -> Result<Self> {
        let capabilities = Capabilities::from_iter([driver::application(app)]);
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connecting = builder.capabilities(capabilities).connect(&driver.url);
        let client = connecting_within(connecting).await?;
        let patience =
            TimeoutConfiguration::new(Some(TEST_TIMEOUT), Some(TEST_TIMEOUT), Some(Duration::ZERO));
        client.update_timeouts(patience).await?;
        Ok(Self(client))
    }

    /// The text of the first element that matches a CSS selector.
    ///
    /// # Errors
    /// No element matches.
    pub async fn text(&self, selector: &str) -> Result<String> {
        Ok(self.element(selector).await?.text().await?)
    }

    /// The name of the colour of that element's text.
    ///
    /// # Errors
    /// No element matches, or its colour has another form.
    pub async fn hue(&self, selector: &str) -> Result<Hue> {
        Hue::of(&self.element(selector).await?.css_value("color").await?)
    }

    /// Clicks that element.
    ///
    /// # Errors
    /// No element matches, or another element covers it.
    pub async fn click(&self, selector: &str) -> Result<()> {
        Ok(self.element(selector).await?.click().await?)
    }

    /// Waits until the page shows this state of the backend.
    ///
    /// # Errors
    /// It did not within [`TEST_TIMEOUT`]. The error says what the page shows.
    pub async fn wait_for_state(&self, state: ShownState) -> Result<()> {
        if self.0.execute_async(IN_STATE, vec![json!(state.name())]).await.is_ok() {
            return Ok(());
        }
        let shown = self.text("body").await?;
        bail!("the page did not become {} within {TEST_TIMEOUT:?}; it shows:\n{shown}", state.name())
    }

    /// Waits until an element shows a value other than `old`, and returns it. A dash does not count as a value.
    ///
    /// # Errors
    /// It did not within [`TEST_TIMEOUT`]. The error says what the page shows.
    pub async fn wait_for_change(&self, selector: &str, old: &str) -> Result<String> {
        if let Ok(text) = self.0.execute_async(REPLACED, vec![json!(selector), json!(old)]).await {
            return Ok(text.as_str().unwrap_or_default().to_owned());
        }
        let shown = self.text("body").await?;
        bail!("{selector} did not change from {old} within {TEST_TIMEOUT:?}; the page shows:\n{shown}")
    }

    /// Invokes a command of the shell.
    ///
    /// # Errors
    /// The command was refused or failed. The error holds its answer.
    pub async fn invoke(&self, command: &str, payload: Value) -> Result<Value> {
        let mut answer = self.0.execute_async(INVOKE, vec![json!(command), payload]).await?;
        match answer.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => bail!("{command}: {}", answer["error"]),
        }
    }

    /// Runs a script, and returns its result.
    ///
    /// # Errors
    /// The script threw an exception.
    pub async fn execute(&self, script: &str) -> Result<Value> {
        Ok(self.0.execute(script, Vec::new()).await?)
    }

    /// Reloads the page, and waits until it has loaded.
    ///
    /// # Errors
    /// It did not load.
    pub async fn reload(&self) -> Result<()> {
        Ok(self.0.refresh().await?)
    }

    /// Loads the page at this URL, and waits until it has loaded.
    ///
    /// # Errors
    /// It did not load.
    pub async fn navigate(&self, url: &str) -> Result<()> {
        Ok(self.0.goto(url).await?)
    }

    /// Shows the page before this one, as the back button of a browser does, and waits until it is there.
    ///
    /// # Errors
    /// There is none.
    pub async fn back(&self) -> Result<()> {
        Ok(self.0.back().await?)
    }

    /// Switches to the page in the window with this label.
    ///
    /// # Errors
    /// No window has this label.
    pub async fn switch_to(&self, label: &str) -> Result<()> {
        for window in self.0.windows().await? {
            self.0.switch_to_window(window).await?;
            if self.execute("return __TAURI_INTERNALS__.metadata.currentWindow.label").await? == label {
                return Ok(());
            }
        }
        bail!("no window has the label {label}")
    }

    /// Writes a screenshot of the window to `file`, as PNG.
    ///
    /// # Errors
    /// The driver returned no screenshot, the screenshot is blank, or the file could not be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        // The page can be in a state that was not painted yet. The window would be blank.
        self.0.execute_async(PAINTED, Vec::new()).await?;
        let screenshot = self.0.screenshot().await?;
        if is_blank(&screenshot)? {
            bail!("the window is blank");
        }
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, screenshot).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(super) async fn sized(&self, width: u32, height: u32) -> Result<()> {
        let sized = self.0.execute_async(SIZED, vec![json!(width), json!(height)]).await;
        sized.with_context(|| format!("the page did not become {width} by {height}")).map(drop)
    }

    async fn element(&self, selector: &str) -> Result<Element> {
        let found = self.0.find(Locator::Css(selector)).await;
        found.with_context(|| format!("no element matches {selector}"))
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

/// A driver waits without a limit for an app that never shows a window.
async fn connecting_within(
    connecting: impl Future<Output = Result<Client, fantoccini::error::NewSessionError>>,
) -> Result<Client> {
    let session = timeout(TEST_TIMEOUT, connecting).await;
    let session = session.with_context(|| format!("the app showed no window within {TEST_TIMEOUT:?}"))?;
    session.context("the app did not start")
}
