//! Who watches what: the streams that pages have open.

use std::{collections::HashMap, sync::Mutex};

use tauri::async_runtime::JoinHandle;

use crate::lock::lock;

/// The open streams of all webviews.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: u32,
    /// The label of the webview that each stream goes to, and the task that feeds it.
    streams: HashMap<u32, (String, JoinHandle<()>)>,
}

impl Subscriptions {
    /// Feeds a stream to the webview, until that goes away or ends it, or there is no more.
    pub(crate) fn begin(&self, webview: &str, feed: impl Future<Output = ()> + Send + 'static) -> u32 {
        let mut open = lock(&self.0);
        open.streams.retain(|_, (_, task)| !task.inner().is_finished());
        open.last += 1;
        let id = open.last;
        open.streams.insert(id, (webview.to_owned(), tauri::async_runtime::spawn(feed)));
        id
    }

    /// Ends one stream of this webview; nobody can end another's.
    pub(crate) fn end(&self, webview: &str, id: u32) {
        let mut open = lock(&self.0);
        if open.streams.get(&id).is_some_and(|(owner, _)| owner == webview)
            && let Some((_, task)) = open.streams.remove(&id)
        {
            task.abort();
        }
    }

    /// Ends all streams of a webview.
    pub(crate) fn end_all_of(&self, webview: &str) {
        lock(&self.0).streams.retain(|_, (owner, task)| {
            let theirs = owner == webview;
            if theirs {
                task.abort();
            }
            !theirs
        });
    }
}
