use std::{convert::Infallible, future};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

/// Tells a handler that the sidecar stops.
///
/// An endless response, such as an event stream, delays the stop until the grace period is over. Take this extractor as an
/// argument of the handler, and end the stream when [`requested`](Self::requested) resolves.
///
/// ```
/// use pillion_server::Shutdown;
///
/// async fn long_poll(shutdown: Shutdown) -> &'static str {
///     tokio::select! {
///         () = next_message() => "a message",
///         () = shutdown.requested() => "closing",
///     }
/// }
/// # async fn next_message() {}
/// # axum::Router::<()>::new().route("/poll", axum::routing::get(long_poll));
/// ```
///
/// Outside [`serve`](crate::serve), for example in a test of the handler, the extractor works too, and the stop is never
/// requested.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    pub(crate) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether the stop has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the stop is requested; at once if it has been. Dropping the future has no effect.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.clone();
        async move {
            if receiver.wait_for(|requested| *requested).await.is_err() {
                future::pending::<()>().await;
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Shutdown {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self::channel().1))
    }
}
