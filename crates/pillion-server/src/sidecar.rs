use std::time::{Duration, Instant};

use axum::{Router, serve::ListenerExt};
use pillion_protocol::{Admission, ListenAddr};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};
use tracing::{info, warn};

use crate::{
    Error, Limits, Result, Shutdown,
    admission::AdmissionLayer,
    announce::announce,
    bind::{self, Listening},
    connections, health, host_environment, lifeline, origins,
    signals::Signals,
};

/// A sidecar to be: its name, and what differs from the defaults.
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
    /// The grace period unless [`grace`](Self::grace) sets another: 5 seconds.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

    /// A sidecar of the app of this name.
    ///
    /// Takes the token that the host gave out of the environment, and the listener if it handed one over (`LISTEN_FDS`, on
    /// Windows `PILLION_PIPE`), so that programs that this one starts do not inherit them.
    /// Call it before you start any, best as the first thing in `main`: other threads should not read the environment, as C
    /// libraries do, at this moment.
    pub fn new(app: impl Into<String>) -> Self {
        // What is wrong with it is told by `serve`, which can return it.
        let _ = host_environment::take();
        Self { app: app.into(), version: None, grace: Self::DEFAULT_GRACE, limits: Limits::default() }
    }

    /// Names the version in `/health`, most often `env!("CARGO_PKG_VERSION")`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// How long requests in flight may take once the stop is requested. Keep it below the host's own patience.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How much a client may ask of it, instead of [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves `router` until the stop is requested and what was in flight has finished or run out of grace.
    ///
    /// Call it once, from `main`: the environment, stdin, stdout and the signals that it uses belong to the process.
    /// If its future is dropped, connections are cut at once.
    ///
    /// # Errors
    /// When the sidecar cannot start. Once it has announced itself, it returns `Ok`, whatever asked for the stop.
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
        let listening = bind::listen(inherited, environment.port).await?;
        let addr = listening.listen_addr();
        let admission = Admission::new(addr, origins, environment.token);
        if admission.token().is_none() {
            info!("no token was given: every program that reaches {addr} may call");
        }
        let gate = AdmissionLayer::new(admission, addr, self.limits, shutdown.clone(), router);
        // The host may ask for the stop as soon as it knows where the sidecar is.
        let signals = Signals::listen().map_err(Error::Stop)?;
        let lifeline = lifeline::watch().map_err(Error::Stop)?;
        announce(addr).map_err(Error::Announce)?;
        match addr {
            ListenAddr::Tcp(port) => info!("listening on http://127.0.0.1:{port}"),
            ListenAddr::Local => info!("listening where the host said, on no port"),
        }

        let stopping = async {
            // Outside of the macro, which does not even evaluate what nobody is going to read.
            let cause = first_cause(signals, lifeline).await;
            info!("stopping: {cause}");
            stop.send_replace(true);
        };
        let (connections, ()) = tokio::join!(accept(listening, gate, self.limits, shutdown), stopping);
        match connections::drain(connections, self.grace).await {
            0 => info!("stopped"),
            dropped => {
                warn!(dropped, grace = ?self.grace, "stopped: the grace period is over, open connections were cut");
            }
        }
        Ok(())
    }
}

/// Why the sidecar stops, in words.
async fn first_cause(signals: Signals, lifeline: Option<oneshot::Receiver<()>>) -> &'static str {
    let Some(lifeline) = lifeline else { return signals.first().await };
    tokio::select! {
        signal = signals.first() => signal,
        _ = lifeline => "the host closed stdin",
    }
}

async fn accept(
    listening: Listening,
    gate: AdmissionLayer,
    limits: Limits,
    shutdown: Shutdown,
) -> JoinSet<()> {
    match listening {
        Listening::Port(listener, _) => {
            connections::accept(without_delay(listener), gate, limits, shutdown).await
        }
        #[cfg(unix)]
        Listening::Socket(listener) => {
            connections::accept(crate::peer_credentials::SameUserListener(listener), gate, limits, shutdown)
                .await
        }
        #[cfg(windows)]
        Listening::Pipe(listener) => connections::accept(listener, gate, limits, shutdown).await,
    }
}

/// Small writes, such as single events of a stream, leave at once instead of waiting for an acknowledgement.
fn without_delay(listener: TcpListener) -> impl axum::serve::Listener {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    })
}
