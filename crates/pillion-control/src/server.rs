//! The app's side: accepts clients, and serves each on a task of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pillion::Supervisor;
use tokio::{
    task::{AbortHandle, JoinSet},
    time,
};

use crate::{
    AppInfo, CONNECTION_LIMIT, ControlAnswer, ControlError, ControlLevel, Greeting, RefusalKind,
    control_socket::{Address, Listener, Stream},
    line::LineWriter,
    session,
    task::task,
};

/// How long to wait after the system refused to accept a connection, for lack of descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a refused client may take to read why. Its connection is new, so that the system takes the words at once.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What all connections serve.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) greeting: Greeting,
    pub(crate) sidecars: BTreeMap<String, Supervisor>,
}

/// A served control socket. Drop removes the socket. The connections end, and the handles to the sidecars are given up, as soon as the
/// runtime runs.
#[derive(Debug)]
#[must_use = "the socket is closed when it is dropped"]
pub struct ControlSocket {
    name: String,
    address: Address,
    task: AbortHandle,
}

/// Opens a control socket of this process for these sidecars, and serves it on a task of the present runtime. Without a client the task
/// only waits. `docs/threat-model.md` in the repository says what `level` gives to other programs of the same user.
///
/// ```no_run
/// # fn example(backend: pillion::Supervisor) -> Result<(), pillion_control::ControlError> {
/// use pillion_control::{AppInfo, ControlLevel, serve};
///
/// let app = AppInfo::new("Notes").identifier("com.example.notes");
/// let socket = serve(app, ControlLevel::Read, [backend])?;
/// // `pillion ps` shows the app until the socket is dropped.
/// # drop(socket);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The directory of the sockets cannot be created, or other users can open or replace it; or the system refuses the socket. The sidecars
/// run without it.
///
/// # Panics
/// Outside the context of a tokio runtime with I/O and time enabled.
pub fn serve(
    app: AppInfo,
    level: ControlLevel,
    sidecars: impl IntoIterator<Item = Supervisor>,
) -> Result<ControlSocket, ControlError> {
    let listener = Listener::bind()?;
    let (name, address) = (listener.name(), listener.address());
    let sidecars = sidecars.into_iter().map(|sidecar| (sidecar.name().to_owned(), sidecar)).collect();
    let served = Served { greeting: Greeting::new(app, level), sidecars };
    let task = tokio::spawn(task(accept_all(listener, Arc::new(served)))).abort_handle();
    Ok(ControlSocket { name, address, task })
}

impl ControlSocket {
    /// The path of the socket, or the name of the pipe, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(all(test, windows))]
impl ControlSocket {
    pub(crate) fn address(&self) -> Address {
        self.address.clone()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        // At once, because the program can end before the runtime drops the task.
        self.address.remove();
    }
}

async fn accept_all(listener: Listener, served: Arc<Served>) {
    listener.tidy().await;
    // Their handles keep the sidecars running: they end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) if connections.len() < CONNECTION_LIMIT => {
                    connections.spawn(task(session::serve(stream, Arc::clone(&served))));
                }
                Ok(stream) => refuse(stream, &served.greeting).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the control socket");
                    time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn refuse(stream: Stream, greeting: &Greeting) {
    let message =
        format!("{} serves {CONNECTION_LIMIT} clients already: close one of them", greeting.app.name);
    let refusal = ControlAnswer::Error { kind: RefusalKind::Busy, message };
    let mut writer = LineWriter::new(stream);
    let lines = async {
        writer.push(greeting)?;
        writer.send(&refusal).await
    };
    let _ = time::timeout(REFUSAL_TIMEOUT, lines).await;
}
