//! Responses that pages do not read: they occupy the sidecar's connections.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{Exchange, Proxy};
use crate::lock::lock;

/// How many connections to one sidecar may be occupied by responses that pages have not read for so long. A backend on
/// `pillion-server` accepts 256 connections. An event stream does not count while the page waits for its next chunk, nor just after the
/// page received a part of it: a page that opens hundreds of event streams at once gets the first bytes of all before it reads on.
pub(super) const LIMITS: [Limit; 2] = [
    Limit { max: MAX_UNREAD, after: Duration::from_secs(10) },
    // A page that never reads holds further connections no longer than this.
    Limit { max: 200, after: Duration::from_secs(2) },
];

pub(super) const MAX_UNREAD: usize = 128;

/// How many responses may have been unread for this time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) max: usize,
    pub(super) after: Duration,
}

/// A response that its page neither reads nor has cancelled.
struct Unread {
    webview: String,
    id: u32,
    exchange: Arc<Exchange>,
    /// [`Exchange::unread_since`].
    since: (Instant, u64),
}

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

    /// Cancels unread responses of this sidecar that occupy a connection, until the [limits](LIMITS) hold: the oldest of the webview
    /// that has the most. A page that neither reads nor cancels its responses would otherwise use up the sidecar's connections.
    pub(super) fn evict_unread(&self, sidecar: &str) {
        let mut unread = self.unread(sidecar);
        for Limit { max, after } in self.unread_limits {
            let (mut counted, others) =
                unread.into_iter().partition(|response| response.since.0.elapsed() >= after);
            for response in split_excess(&mut counted, max) {
                tracing::warn!(
                    webview = response.webview,
                    sidecar,
                    "closed a response that the page neither read nor cancelled"
                );
                self.finish(&(response.webview, response.id), &response.exchange);
            }
            unread = others;
            unread.append(&mut counted);
        }
    }

    /// None if there are few.
    fn unread(&self, sidecar: &str) -> Vec<Unread> {
        let exchanges = lock(&self.exchanges);
        if self.unread_limits.iter().all(|limit| exchanges.len() <= limit.max) {
            return Vec::new();
        }
        let occupying = exchanges.iter().filter(|(_, exchange)| {
            exchange.sidecar == sidecar && !exchange.complete.load(Ordering::Relaxed)
        });
        let unread = occupying.filter_map(|((webview, id), exchange)| {
            let since = (*lock(&exchange.unread_since))?;
            Some(Unread { webview: webview.clone(), id: *id, exchange: Arc::clone(exchange), since })
        });
        unread.collect()
    }
}

/// Leaves this many. Takes the oldest of the webview that has the most, again and again.
fn split_excess(unread: &mut Vec<Unread>, max: usize) -> Vec<Unread> {
    if unread.len() <= max {
        return Vec::new();
    }
    unread.sort_unstable_by_key(|response| Reverse(response.since));
    // A response is taken when its webview has just it and the newer ones.
    let mut counts = HashMap::<_, usize>::new();
    let mut ranked = Vec::with_capacity(unread.len());
    for response in unread.drain(..) {
        let count = counts.entry(response.webview.clone()).or_default();
        *count += 1;
        ranked.push((*count, response));
    }
    ranked.sort_unstable_by_key(|(count, response)| (*count, Reverse(response.since)));
    let excess = ranked.split_off(max);
    unread.extend(ranked.into_iter().map(|(_, response)| response));
    excess.into_iter().rev().map(|(_, response)| response).collect()
}
