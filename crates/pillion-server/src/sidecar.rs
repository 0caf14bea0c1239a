use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, serve::ListenerExt};
use pillion_protocol::{Admission, ListenAddr, defaults::GRACE_PERIOD};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tracing::{info, warn};

use crate::{
    Error, Limits, Result, Shutdown,
    admission::AdmissionLayer,
    announce::announce,
    bind::{self, BoundListener},
    connections::{self, Server},
    health, host_environment, lifeline, origins,
    signals::Signals,
};

/// Builds a sidecar: its app, and the settings that differ from the defaults.
///
/// ```no_run
/// # async fn run(router: axum::Router) -> pillion_server::Result {
/// use std::time::Duration;
/// use pillion_server::Sidecar;
///
/// Sidecar::new("AIOS").version(env!("CARGO_PKG_VERSION")).grace(Duration::from_secs(2)).serve(router).await
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a sidecar does nothing until it serves"]
pub struct Sidecar {
    app: String,
    version: Option<String>,
    grace: Duration,
    limits: Limits,
}

impl Sidecar {
    /// How long requests in flight may take unless [`grace`](Self::grace) sets another time: 4.5 seconds, because the host kills the
    /// process after 5 seconds.
    pub const DEFAULT_GRACE: Duration = GRACE_PERIOD.saturating_sub(Duration::from_millis(500));

    /// Creates a sidecar of the app named `app`.
    ///
    /// Removes the token and the listener of the host (`LISTEN_FDS`, on Windows `PILLION_PIPE`) from the environment, so that
    /// child processes do not inherit them. Call it before you start a child process, and before other threads read the
    /// environment, as C libraries do: best as the first statement of `main`.
    pub fn new(app: impl Into<String>) -> Self {
        // `serve` returns the error, if there is one.
        let _ = host_environment::take();
        Self { app: app.into(), version: None, grace: Self::DEFAULT_GRACE, limits: Limits::default() }
    }

    /// Sets the version that `/health` shows, most often `env!("CARGO_PKG_VERSION")`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets how long requests in flight may take after the stop is requested. Keep it below the grace period of the host.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the limits for clients. The default is [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves `router` until the stop is requested and the requests in flight have finished, or the grace period is over.
    ///
    /// Call it once, from `main`, because it uses the environment, stdin, stdout and the signals of the process. Dropping the
    /// future cuts all connections at once.
    ///
    /// # Errors
    /// Returns an error if the sidecar cannot start. After the announcement it always returns `Ok`.
    pub async fn serve(self, router: Router) -> Result {
        let started = Instant::now();
        let environment = host_environment::take()?;
        let (stop, shutdown) = Shutdown::channel();
        let origins = origins::allowed(environment.allowed_origins.as_deref())?;
        let identity = health::Identity {
            app: self.app,
            version: self.version,
            instance: environment.instance,
            started,
        };
        let router = health::mount(router, identity)?;

        let inherited = host_environment::listener().map_err(Error::InheritedListener)?;
        let listener = bind::listen(inherited, environment.port).await?;
        let addr = listener.listen_addr();
        let admission = Admission::new(addr, origins, environment.token);
        if admission.token().is_none() {
            info!("PILLION_TOKEN is not set: every program that reaches {addr} may call");
        }
        let layer = AdmissionLayer::new(admission, addr, self.limits, shutdown.clone(), router);
        let server = Server { admission: Arc::new(layer), limits: self.limits, shutdown, half_close: true };
        // Watch before the announcement: the host may request the stop right after it.
        let (signals, second_signal) = Signals::listen().map_err(Error::Stop)?;
        let lifeline = lifeline::watch(|| second_signal.ignore()).map_err(Error::Stop)?;
        announce(addr).map_err(Error::Announce)?;
        match addr {
            ListenAddr::Tcp(port) => info!("listening on http://127.0.0.1:{port}"),
            ListenAddr::Local => info!("listening on the local socket of the host, without a port"),
        }

        let stopping = async {
            // Outside the macro, because it does not evaluate its arguments while logging is off.
            let cause = first_cause(signals, lifeline).await;
            info!("stopping: {cause}");
            stop.send_replace(true);
        };
        let (connections, ()) = tokio::join!(accept(listener, server), stopping);
        match connections::drain(connections, self.grace).await {
            0 => info!("stopped"),
            dropped => {
                warn!(dropped, grace = ?self.grace, "stopped: the grace period is over, and open connections were cut");
            }
        }
        Ok(())
    }
}

/// Waits for the first request to stop, and returns its name for the log.
async fn first_cause(signals: Signals, lifeline: Option<oneshot::Receiver<()>>) -> &'static str {
    let Some(lifeline) = lifeline else { return signals.first().await };
    tokio::select! {
        signal = signals.first() => signal,
        _ = lifeline => "the host closed stdin",
    }
}

async fn accept(listener: BoundListener, server: Server) -> JoinSet<()> {
    match listener {
        BoundListener::Tcp(listener, _) => server.accept(without_delay(listener)).await,
        #[cfg(unix)]
        BoundListener::Unix(listener) => {
            server.accept(crate::peer_credentials::SameUserListener(listener)).await
        }
        #[cfg(windows)]
        BoundListener::NamedPipe(listener) => {
            // One side of a pipe cannot be closed alone.
            Server { half_close: false, ..server }.accept(listener).await
        }
    }
}

/// Disables Nagle's algorithm, so that small writes, such as single events of a stream, leave at once.
fn without_delay(listener: TcpListener) -> impl axum::serve::Listener {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grace_ends_before_the_host_kills() {
        assert!(Sidecar::DEFAULT_GRACE + Duration::from_millis(500) <= GRACE_PERIOD);
    }
}
