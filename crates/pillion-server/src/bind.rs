//! Opens the listener: the one inherited from the host, one on the port that `PORT` names, or one on a port that the system
//! chooses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use pillion_protocol::{ListenAddr, is_blocked_by_browsers};
use tokio::net::TcpListener;

use crate::{Error, inherited_listener::InheritedListener};

/// A listener that accepts connections.
#[derive(Debug)]
pub(crate) enum BoundListener {
    /// Accepts on this port of 127.0.0.1.
    Tcp(TcpListener, NonZeroU16),
    /// Accepts on a Unix domain socket.
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    /// Accepts on a named pipe.
    #[cfg(windows)]
    NamedPipe(crate::named_pipe::SameUserListener),
}

impl BoundListener {
    /// The address to announce.
    pub(crate) fn listen_addr(&self) -> ListenAddr {
        match self {
            Self::Tcp(_, port) => ListenAddr::Tcp(*port),
            #[cfg(unix)]
            Self::Unix(_) => ListenAddr::Local,
            #[cfg(windows)]
            Self::NamedPipe(_) => ListenAddr::Local,
        }
    }
}

/// Opens the inherited listener if there is one, else one on the `requested` port, else one on any port.
pub(crate) async fn listen(
    inherited: Option<InheritedListener>,
    requested: Option<NonZeroU16>,
) -> Result<BoundListener, Error> {
    match inherited {
        #[cfg(unix)]
        Some(InheritedListener::Unix(socket)) => {
            return tokio::net::UnixListener::from_std(socket)
                .map(BoundListener::Unix)
                .map_err(Error::InheritedListener);
        }
        #[cfg(windows)]
        Some(InheritedListener::NamedPipe(name)) => {
            return crate::named_pipe::SameUserListener::create(name).map(BoundListener::NamedPipe);
        }
        #[cfg(unix)]
        Some(InheritedListener::Tcp(listener)) => {
            let (listener, port) =
                TcpListener::from_std(listener).and_then(with_port).map_err(Error::InheritedListener)?;
            warn_if_blocked(port);
            return Ok(BoundListener::Tcp(listener, port));
        }
        None => {}
    }
    let Some(requested) = requested else {
        let chosen = choose_callable(async || with_port(bind(0).await?)).await;
        return chosen.map(|(listener, port)| BoundListener::Tcp(listener, port)).map_err(Error::Listen);
    };
    warn_if_blocked(requested);
    match bind(requested.get()).await {
        Ok(listener) => Ok(BoundListener::Tcp(listener, requested)),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::AddrInUse => Error::PortTaken(requested),
            io::ErrorKind::PermissionDenied => Error::PortForbidden(requested),
            _ => Error::Listen(error),
        }),
    }
}

/// Returns the first listener whose port browsers call. Keeps the rejected listeners open until then, so the system offers
/// each port only once and the search ends.
async fn choose_callable<L>(
    mut next: impl AsyncFnMut() -> io::Result<(L, NonZeroU16)>,
) -> io::Result<(L, NonZeroU16)> {
    let mut rejected = Vec::new();
    loop {
        let (listener, port) = next().await?;
        if !is_blocked_by_browsers(port) {
            return Ok((listener, port));
        }
        rejected.push(listener);
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    // The literal address: `localhost` may resolve to `::1`, and any other address may be open to the network.
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

fn with_port(listener: TcpListener) -> io::Result<(TcpListener, NonZeroU16)> {
    let port = NonZeroU16::new(listener.local_addr()?.port())
        .ok_or_else(|| io::Error::other("the system chose port 0"))?;
    Ok((listener, port))
}

fn warn_if_blocked(port: NonZeroU16) {
    if is_blocked_by_browsers(port) {
        tracing::warn!(port, "browsers and webviews refuse to call this port: choose another port");
    }
}

/// The command that shows which process listens on `port`.
pub(crate) fn lookup_command(port: NonZeroU16) -> String {
    if cfg!(target_os = "linux") {
        format!("ss -ltnp sport = :{port}")
    } else if cfg!(windows) {
        format!("netstat -ano | findstr :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

/// Says what to do about a port that the system refuses. Windows protects no port from users; it refuses one that another program holds for
/// itself, or that it has reserved
/// (<https://learn.microsoft.com/en-us/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse>).
pub(crate) fn forbidden(port: NonZeroU16, windows: bool) -> String {
    if windows {
        format!(
            "Windows refuses port {port}: another program holds it for itself, or it is reserved (`netsh interface ipv4 show \
             excludedportrange protocol=tcp` lists those ports); set PORT to another port, or unset it to let the system choose"
        )
    } else {
        format!(
            "the system refuses port {port} to this user: set PORT to 1024 or above, or unset it to let the system choose"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_protects_no_low_ports() {
        let port = NonZeroU16::new(8080).unwrap();
        assert!(forbidden(port, true).contains("excludedportrange"));
        assert!(forbidden(port, false).contains("1024 or above"));
    }

    #[tokio::test]
    async fn blocked_ports_are_held_until_a_callable_port_is_found() {
        let mut offers = [6000, 6667, 40_000, 40_001].into_iter();
        let held = std::rc::Rc::new(());
        let chosen = choose_callable(async || {
            let offer = offers.next().and_then(NonZeroU16::new).unwrap();
            if offer.get() == 40_000 {
                assert_eq!(std::rc::Rc::strong_count(&held), 3, "both rejected listeners are still open");
            }
            Ok((std::rc::Rc::clone(&held), offer))
        });
        assert_eq!(chosen.await.unwrap().1.get(), 40_000);
        assert_eq!(
            std::rc::Rc::strong_count(&held),
            1,
            "the rejected listeners are closed once a port is found"
        );
    }
}
