use std::{convert::Infallible, future};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

/// Tells a handler that the sidecar is stopping.
///
/// A response that would go on for ever, such as a stream of events, holds the stop up until the grace period is
/// over. Take this as an argument of the handler and end the stream when [`requested`](Self::requested) resolves.
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
/// Outside [`serve`](crate::serve), in a test of the handler for one, it can be extracted too and is never requested.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    pub(crate) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether the stop was requested already.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the stop is requested, or at once when it was before. Dropping the future has no effect.
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
