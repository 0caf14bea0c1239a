//! The subscriptions (`watch`, `logs`, `usage`) that pages have open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tauri::async_runtime::JoinHandle;
use tokio::sync::Notify;

use crate::desktop::{lock::lock, task::task};

/// How many messages may be on their way to a page that says which ones it has handled. Each has at most 500 lines of output.
const MAX_UNHANDLED: u32 = 4;

/// The open subscriptions of all webviews.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last_id: u32,
    tasks: HashMap<u32, Subscription>,
}

#[derive(Debug)]
struct Subscription {
    /// The label of its webview.
    owner: String,
    /// Feeds it.
    task: JoinHandle<()>,
    /// The messages that are on their way, if the page says which ones it has handled.
    window: Option<Window>,
}

/// The messages of one subscription that the page has not handled. A channel does not say when the page takes one, and keeps all of them
/// until then. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window(Arc<Unhandled>);

#[derive(Debug, Default)]
struct Unhandled {
    count: Mutex<u32>,
    changed: Notify,
}

impl Window {
    /// Waits until one more message may be sent, and counts it. Cancel-safe.
    pub(crate) async fn reserve(&self) {
        loop {
            // Before the look at the count, so that no change is missed.
            let changed = self.0.changed.notified();
            {
                let mut count = lock(&self.0.count);
                if *count < MAX_UNHANDLED {
                    *count += 1;
                    return;
                }
            }
            changed.await;
        }
    }

    /// The page has handled so many messages.
    fn handled(&self, messages: u32) {
        let mut count = lock(&self.0.count);
        *count = count.saturating_sub(messages);
        drop(count);
        self.0.changed.notify_one();
    }
}

impl Subscriptions {
    /// Runs `feed` until it ends, the webview is destroyed or loads another page, or the page unsubscribes. Returns the
    /// subscription's id.
    pub(crate) fn begin(&self, webview: &str, feed: impl Future<Output = ()> + Send + 'static) -> u32 {
        self.begin_with(webview, None, feed)
    }

    /// As [`begin`](Self::begin), for a `feed` that reserves a place in the window for each message.
    pub(crate) fn begin_with(
        &self,
        webview: &str,
        window: Option<Window>,
        feed: impl Future<Output = ()> + Send + 'static,
    ) -> u32 {
        let mut open = lock(&self.0);
        open.tasks.retain(|_, subscription| !subscription.task.inner().is_finished());
        open.last_id += 1;
        let id = open.last_id;
        let task = tauri::async_runtime::spawn(task(feed));
        open.tasks.insert(id, Subscription { owner: webview.to_owned(), task, window });
        id
    }

    /// The page of this webview has handled so many messages of the subscription. An id of another webview has no effect.
    pub(crate) fn handled(&self, webview: &str, id: u32, messages: u32) {
        if let Some(Subscription { owner, window: Some(window), .. }) = lock(&self.0).tasks.get(&id)
            && owner == webview
        {
            window.handled(messages);
        }
    }

    /// Ends one subscription of this webview. An id of another webview has no effect.
    pub(crate) fn end(&self, webview: &str, id: u32) {
        let mut open = lock(&self.0);
        if open.tasks.get(&id).is_some_and(|subscription| subscription.owner == webview)
            && let Some(subscription) = open.tasks.remove(&id)
        {
            subscription.task.abort();
        }
    }

    #[cfg(all(test, unix))]
    pub(crate) fn count(&self) -> usize {
        lock(&self.0).tasks.len()
    }

    /// Ends all subscriptions of a webview.
    pub(crate) fn end_all_of(&self, webview: &str) {
        lock(&self.0).tasks.retain(|_, subscription| {
            let is_owner = subscription.owner == webview;
            if is_owner {
                subscription.task.abort();
            }
            !is_owner
        });
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use pillion::{Log, LogQuery, Program, Spec, Supervisor};

    use super::*;
    use crate::desktop::commands::send_logs;

    const LINES: u64 = 100_000;

    /// What a page has got.
    #[derive(Default)]
    struct Page {
        messages: AtomicU64,
        lines: AtomicU64,
        missed: AtomicU64,
    }

    impl Page {
        fn take(&self, log: Log) -> bool {
            self.messages.fetch_add(1, Ordering::Relaxed);
            match log {
                Log::Lines { entries, .. } => self.lines.fetch_add(entries.len() as u64, Ordering::Relaxed),
                Log::Missed { lines, .. } => self.missed.fetch_add(lines, Ordering::Relaxed),
                _ => 0,
            };
            true
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_that_handles_nothing_gets_few_messages_and_then_the_number_of_missed_lines() {
        // More than four messages of it are kept, however it is divided into reads.
        let script = format!("yes {} | head -n {LINES}", "x".repeat(99));
        let program = Program::new("/bin/sh").args(["-c", &script]);
        let (sidecar, _events) = Supervisor::start(Spec::run("flood", program));
        let (page, window) = (Arc::new(Page::default()), Window::default());
        let logs = sidecar.logs(LogQuery::default());
        let feed = tokio::spawn({
            let (page, window) = (Arc::clone(&page), window.clone());
            async move { send_logs(logs, &window, |log| page.take(log)).await }
        });
        // It ends with its output.
        let _ = sidecar.ready().await;
        drop(sidecar);
        while page.messages.load(Ordering::Relaxed) < u64::from(MAX_UNHANDLED) {
            tokio::task::yield_now().await;
        }
        // A further message would have to be counted before it is sent.
        assert_eq!(*lock(&window.0.count), MAX_UNHANDLED);
        while !feed.is_finished() {
            window.handled(1);
            tokio::task::yield_now().await;
        }
        let (lines, missed) = (page.lines.load(Ordering::Relaxed), page.missed.load(Ordering::Relaxed));
        assert_eq!(lines + missed, LINES, "{lines} lines, {missed} missed");
        assert!(missed > 0);
    }

    #[tokio::test]
    async fn a_page_cannot_make_room_in_the_subscription_of_another_one() {
        let (subscriptions, window) = (Subscriptions::default(), Window::default());
        let id = subscriptions.begin_with("main", Some(window.clone()), std::future::pending());
        for _ in 0..MAX_UNHANDLED {
            window.reserve().await;
        }
        subscriptions.handled("other", id, 1);
        subscriptions.handled("main", id + 1, 1);
        assert_eq!(*lock(&window.0.count), MAX_UNHANDLED);
        subscriptions.handled("main", id, u32::MAX);
        assert_eq!(*lock(&window.0.count), 0);
        subscriptions.end("main", id);
    }
}
