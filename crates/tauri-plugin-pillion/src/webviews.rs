//! Which webview is in which window. Tauri tells of the end of a window, and has then forgotten its webviews.

use std::{collections::HashMap, fmt, sync::Mutex};

use crate::desktop::lock::lock;

/// Returns the label of the window in which a webview is now: an app can move it.
type WindowOf = Box<dyn Fn() -> String + Send>;

/// The webviews that have loaded a page, by their labels.
#[derive(Default)]
pub(crate) struct Webviews(Mutex<HashMap<String, WindowOf>>);

impl Webviews {
    /// Adds a webview, or replaces that of the same label.
    pub(crate) fn add(&self, webview: &str, window: impl Fn() -> String + Send + 'static) {
        lock(&self.0).insert(webview.to_owned(), Box::new(window));
    }

    /// Removes the webviews that are in this window, and returns their labels.
    pub(crate) fn take_of(&self, window: &str) -> Vec<String> {
        let is_inside = |_: &String, inside: &mut WindowOf| inside() == window;
        lock(&self.0).extract_if(is_inside).map(|(webview, _)| webview).collect()
    }
}

impl fmt::Debug for Webviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_end_of_a_window_ends_all_of_its_webviews_and_no_other() {
        let webviews = Webviews::default();
        let moved = Arc::new(Mutex::new("main"));
        for (webview, window) in [("main", "main"), ("panel", "main"), ("other", "other")] {
            webviews.add(webview, || window.to_owned());
        }
        let window = Arc::clone(&moved);
        webviews.add("moved", move || window.lock().unwrap().to_string());
        *moved.lock().unwrap() = "other";
        let ended = |window| {
            let mut labels = webviews.take_of(window);
            labels.sort_unstable();
            labels
        };
        assert_eq!(ended("main"), ["main", "panel"]);
        assert_eq!(ended("main"), [""; 0]);
        assert_eq!(ended("other"), ["moved", "other"]);
    }
}
