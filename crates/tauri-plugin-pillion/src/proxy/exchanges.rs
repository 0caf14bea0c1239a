//! What pages have under way through the app: requests, with the bodies that belong to them, and WebSockets.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio_util::sync::CancellationToken;

use super::{HttpExchange, web_socket::WebSocket};
use crate::desktop::{command_error::CommandError, lock::lock};

/// How many bodies one webview may send in pieces at a time. A backend on `pillion-server` accepts about twice as many connections.
const MAX_UPLOADS: usize = 128;
/// How many WebSockets one webview may have open. Chromium allows as many to one server.
const MAX_WEB_SOCKETS: usize = 255;

/// The label of a webview, and the id that its page chose.
pub(super) type Key = (String, u32);

#[derive(Debug, Clone)]
pub(super) enum Exchange {
    Http(Arc<HttpExchange>),
    #[cfg_attr(not(feature = "websocket"), expect(dead_code, reason = "none is ever open"))]
    WebSocket(Arc<WebSocket>),
}

/// The exchanges of all webviews.
#[derive(Debug, Default)]
pub(super) struct Exchanges(Mutex<HashMap<Key, Exchange>>);

/// The registration of an exchange. Dropping it ends the exchange, even if the command's future is dropped or panics, unless
/// [`keep`](Self::keep) was called.
pub(super) struct Registration<'a> {
    exchanges: &'a Exchanges,
    key: Key,
    exchange: Exchange,
    is_kept: bool,
}

impl Exchange {
    fn cancelled(&self) -> &CancellationToken {
        match self {
            Self::Http(exchange) => &exchange.cancelled,
            Self::WebSocket(socket) => socket.cancelled(),
        }
    }

    /// Whether the page sends a body in pieces, and the sidecar may want more of it.
    fn is_upload(&self) -> bool {
        matches!(self, Self::Http(exchange) if exchange.upload.as_ref().is_some_and(|upload| !upload.has_ended()))
    }

    fn is_web_socket(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => Arc::ptr_eq(one, other),
            (Self::WebSocket(one), Self::WebSocket(other)) => Arc::ptr_eq(one, other),
            (Self::Http(_), Self::WebSocket(_)) | (Self::WebSocket(_), Self::Http(_)) => false,
        }
    }
}

impl Exchanges {
    /// Fails if the page uses the id already, or has as many uploads or WebSockets as it may have.
    pub(super) fn begin(&self, key: Key, exchange: Exchange) -> Result<Registration<'_>, CommandError> {
        let mut exchanges = self.lock();
        let open = |is_of_its_kind: fn(&Exchange) -> bool| {
            exchanges.iter().filter(|((owner, _), other)| *owner == key.0 && is_of_its_kind(other)).count()
        };
        if exchange.is_upload() && open(Exchange::is_upload) >= MAX_UPLOADS {
            let reason = format!("the page sends {MAX_UPLOADS} bodies already: wait for the end of one");
            return Err(CommandError::no_response(reason));
        }
        if exchange.is_web_socket() && open(Exchange::is_web_socket) >= MAX_WEB_SOCKETS {
            let reason = format!("the page has {MAX_WEB_SOCKETS} WebSockets already: close one first");
            return Err(CommandError::no_response(reason));
        }
        match exchanges.entry(key.clone()) {
            Entry::Occupied(_) => {
                Err(CommandError::no_response(format!("request {} is already under way", key.1)))
            }
            Entry::Vacant(entry) => {
                entry.insert(exchange.clone());
                Ok(self.registration(key, exchange))
            }
        }
    }

    /// The registration of an exchange that has begun.
    pub(super) fn registration(&self, key: Key, exchange: Exchange) -> Registration<'_> {
        Registration { exchanges: self, key, exchange, is_kept: false }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Exchange> {
        self.lock().get(key).cloned()
    }

    /// Cancels an exchange, at any stage.
    pub(super) fn end(&self, key: &Key) {
        if let Some(exchange) = self.lock().remove(key) {
            exchange.cancelled().cancel();
        }
    }

    /// Cancels all exchanges of a webview.
    pub(super) fn end_all_of(&self, webview: &str) {
        self.lock().retain(|(owner, _), exchange| {
            if owner == webview {
                exchange.cancelled().cancel();
            }
            owner != webview
        });
    }

    /// Cancels this exchange, if it is under way still.
    pub(super) fn finish(&self, key: &Key, exchange: &Exchange) {
        self.forget(key, exchange);
        exchange.cancelled().cancel();
    }

    /// Removes an exchange that ends by itself. One that was cancelled is removed already, and another may have its id.
    pub(super) fn forget(&self, key: &Key, exchange: &Exchange) {
        let mut exchanges = self.lock();
        if exchanges.get(key).is_some_and(|current| current.is(exchange)) {
            exchanges.remove(key);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Key, Exchange>> {
        lock(&self.0)
    }
}

impl Registration<'_> {
    /// Leaves the exchange registered, for the page to go on with it.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.exchanges.finish(&self.key, &self.exchange);
        }
    }
}
