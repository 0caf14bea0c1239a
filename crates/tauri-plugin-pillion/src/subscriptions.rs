//! The subscriptions (`watch`, `logs`, `usage`) that pages have open.

use std::{collections::HashMap, sync::Mutex};

use tauri::async_runtime::JoinHandle;

use crate::lock::lock;

/// The open subscriptions of all webviews.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last_id: u32,
    /// For each subscription the label of its webview and the task that feeds it.
    tasks: HashMap<u32, (String, JoinHandle<()>)>,
}

impl Subscriptions {
    /// Runs `feed` until it ends, the webview is destroyed or loads another page, or the page unsubscribes. Returns the
    /// subscription's id.
    pub(crate) fn begin(&self, webview: &str, feed: impl Future<Output = ()> + Send + 'static) -> u32 {
        let mut open = lock(&self.0);
        open.tasks.retain(|_, (_, task)| !task.inner().is_finished());
        open.last_id += 1;
        let id = open.last_id;
        open.tasks.insert(id, (webview.to_owned(), tauri::async_runtime::spawn(feed)));
        id
    }

    /// Ends one subscription of this webview. An id of another webview has no effect.
    pub(crate) fn end(&self, webview: &str, id: u32) {
        let mut open = lock(&self.0);
        if open.tasks.get(&id).is_some_and(|(owner, _)| owner == webview)
            && let Some((_, task)) = open.tasks.remove(&id)
        {
            task.abort();
        }
    }

    /// Ends all subscriptions of a webview.
    pub(crate) fn end_all_of(&self, webview: &str) {
        lock(&self.0).tasks.retain(|_, (owner, task)| {
            let is_owner = owner == webview;
            if is_owner {
                task.abort();
            }
            !is_owner
        });
    }
}
