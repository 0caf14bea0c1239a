//! Responses that pages do not read: they occupy the sidecar's connections.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Exchange, HttpExchange, Proxy};
use crate::desktop::lock::lock;

/// How many connections to one sidecar may be occupied by responses that pages do not read. A backend on `pillion-server` accepts
/// twice as many connections.
pub(super) const MAX_UNREAD: usize = 128;

/// An event stream is not unread while the page waits for its next chunk, nor for this time after the page received a part of it: a page
/// that opens hundreds of event streams at once gets the first bytes of all before it reads on.
pub(super) const STREAM_GRACE: Duration = Duration::from_secs(10);

/// A response that its page neither reads nor has cancelled.
struct Unread {
    webview: String,
    id: u32,
    exchange: Arc<HttpExchange>,
    /// [`HttpExchange::unread_since`].
    since: (Instant, u64),
}

/// A read that waits for the next chunk. While there is one, the response is not unread.
pub(super) struct PendingRead<'a> {
    proxy: &'a Proxy,
    exchange: &'a HttpExchange,
}

impl<'a> PendingRead<'a> {
    pub(super) fn begin(proxy: &'a Proxy, exchange: &'a HttpExchange) -> Self {
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
            *unread_since = Some(self.proxy.unread_from(self.exchange));
        }
    }
}

impl Proxy {
    pub(super) fn set_unread(&self, exchange: &HttpExchange) {
        *lock(&exchange.unread_since) = Some(self.unread_from(exchange));
    }

    /// From when on the response is unread, if the page does not ask for more.
    fn unread_from(&self, exchange: &HttpExchange) -> (Instant, u64) {
        let is_stream = exchange.is_event_stream.load(Ordering::Relaxed);
        let grace = if is_stream { self.stream_grace } else { Duration::ZERO };
        (Instant::now() + grace, self.clock.fetch_add(1, Ordering::Relaxed))
    }

    /// Cancels unread responses of this sidecar that occupy a connection, until [`MAX_UNREAD`] are left: the oldest of the webview that
    /// has the most. A page that neither reads nor cancels its responses would otherwise use up the sidecar's connections.
    pub(super) fn evict_unread(&self, sidecar: &str) {
        for response in excess(self.unread(sidecar), MAX_UNREAD) {
            tracing::warn!(
                webview = response.webview,
                sidecar,
                "closed a response that the page neither read nor cancelled"
            );
            let key = (response.webview, response.id);
            self.exchanges.finish(&key, &Exchange::Http(response.exchange));
        }
    }

    /// None if there are few.
    fn unread(&self, sidecar: &str) -> Vec<Unread> {
        let exchanges = self.exchanges.lock();
        if exchanges.len() <= MAX_UNREAD {
            return Vec::new();
        }
        let now = Instant::now();
        let unread = exchanges.iter().filter_map(|((webview, id), exchange)| {
            let Exchange::Http(exchange) = exchange else { return None };
            if exchange.sidecar != sidecar || exchange.complete.load(Ordering::Relaxed) {
                return None;
            }
            let since = (*lock(&exchange.unread_since)).filter(|(from, _)| *from <= now)?;
            Some(Unread { webview: webview.clone(), id: *id, exchange: Arc::clone(exchange), since })
        });
        unread.collect()
    }
}

/// All but this many: the oldest of the webview that has the most, again and again.
fn excess(mut unread: Vec<Unread>, max: usize) -> Vec<Unread> {
    if unread.len() <= max {
        return Vec::new();
    }
    unread.sort_unstable_by_key(|response| Reverse(response.since));
    // A response is taken when its webview has just it and the newer ones.
    let mut counts = HashMap::<_, usize>::new();
    let mut ranked = Vec::with_capacity(unread.len());
    for response in unread {
        let count = counts.entry(response.webview.clone()).or_default();
        *count += 1;
        ranked.push((*count, response));
    }
    ranked.sort_unstable_by_key(|(count, response)| (*count, Reverse(response.since)));
    ranked.split_off(max).into_iter().rev().map(|(_, response)| response).collect()
}
