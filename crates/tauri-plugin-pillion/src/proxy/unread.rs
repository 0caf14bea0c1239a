//! Responses that pages do not read: they occupy the sidecar's connections.

use std::{
    cmp::Reverse,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{Exchange, Proxy};
use crate::lock::lock;

/// How many connections to one sidecar may be occupied by responses that pages do not read. A backend on `pillion-server` accepts
/// twice as many connections. An event stream does not count while the page waits for its next chunk.
pub(super) const MAX_UNREAD: usize = 128;

/// How long a response counts as read after the page received a part of it: a page that opens hundreds of event streams at once gets
/// the first bytes of all before it reads on.
pub(super) const UNREAD_AFTER: Duration = Duration::from_secs(10);

/// A read that waits for the next chunk. While there is one, the response is not unread.
pub(super) struct PendingRead<'a> {
    proxy: &'a Proxy,
    exchange: &'a Exchange,
}

impl<'a> PendingRead<'a> {
    pub(super) fn begin(proxy: &'a Proxy, exchange: &'a Exchange) -> Self {
        let mut unread_since = lock(&exchange.unread_since);
        exchange.reads.fetch_add(1, Ordering::Relaxed);
        *unread_since = None;
        drop(unread_since);
        Self { proxy, exchange }
    }
}

impl Drop for PendingRead<'_> {
    fn drop(&mut self) {
        let mut unread_since = lock(&self.exchange.unread_since);
        if self.exchange.reads.fetch_sub(1, Ordering::Relaxed) == 1 {
            *unread_since = Some(self.proxy.now());
        }
    }
}

impl Proxy {
    pub(super) fn set_unread(&self, exchange: &Exchange) {
        *lock(&exchange.unread_since) = Some(self.now());
    }

    fn now(&self) -> (Instant, u64) {
        (Instant::now(), self.clock.fetch_add(1, Ordering::Relaxed))
    }

    /// Cancels unread responses of this sidecar that occupy a connection, until at most [`MAX_UNREAD`] are left: the oldest of the
    /// webview that has the most. A page that neither reads nor cancels its responses would otherwise use up the sidecar's
    /// connections.
    pub(super) fn evict_unread(&self, sidecar: &str) {
        let mut exchanges = lock(&self.exchanges);
        if exchanges.len() <= MAX_UNREAD {
            return;
        }
        let is_old = |since: &(Instant, u64)| since.0.elapsed() >= self.unread_after;
        let mut unread: Vec<_> = exchanges
            .iter()
            .filter(|(_, exchange)| exchange.sidecar == sidecar && !exchange.complete.load(Ordering::Relaxed))
            .filter_map(|(key, exchange)| Some((key.clone(), lock(&exchange.unread_since).filter(is_old)?)))
            .collect();
        while unread.len() > MAX_UNREAD {
            let count = |webview: &str| unread.iter().filter(|((owner, _), _)| owner == webview).count();
            let oldest = (0..unread.len()).max_by_key(|&index| {
                let ((owner, _), since) = &unread[index];
                (count(owner), Reverse(*since))
            });
            let Some(oldest) = oldest else { return };
            let (key, _) = unread.swap_remove(oldest);
            tracing::warn!(
                webview = key.0,
                sidecar,
                "closed a response that the page neither read nor cancelled"
            );
            self.uploads.end(&key);
            if let Some(exchange) = exchanges.remove(&key) {
                exchange.cancelled.cancel();
            }
        }
    }
}
