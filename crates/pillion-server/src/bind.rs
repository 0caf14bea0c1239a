//! Where the sidecar listens: where the host does already, on the port that `PORT` names, or on one that the system chooses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use pillion_protocol::ListenAddr;
use tokio::net::TcpListener;

use crate::{Error, inherited_listener::Handed};

/// Ports that no browser sends requests to: <https://fetch.spec.whatwg.org/#bad-port>.
#[rustfmt::skip]
const BLOCKED_BY_BROWSERS: [u16; 82] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// A listener that already accepts.
#[derive(Debug)]
pub(crate) enum Listening {
    /// On this port of 127.0.0.1.
    Port(TcpListener, NonZeroU16),
    /// On a Unix domain socket.
    #[cfg(unix)]
    Socket(tokio::net::UnixListener),
    /// On a named pipe.
    #[cfg(windows)]
    Pipe(crate::named_pipe::SameUserListener),
}

impl Listening {
    /// What is announced.
    pub(crate) fn listen_addr(&self) -> ListenAddr {
        match self {
            Self::Port(_, port) => ListenAddr::Tcp(*port),
            #[cfg(unix)]
            Self::Socket(_) => ListenAddr::Local,
            #[cfg(windows)]
            Self::Pipe(_) => ListenAddr::Local,
        }
    }
}

/// Listens where the host does already, if it handed that over; on the port that is asked for, or on any.
pub(crate) async fn listen(
    handed: Option<Handed>,
    requested: Option<NonZeroU16>,
) -> Result<Listening, Error> {
    match handed {
        #[cfg(unix)]
        Some(Handed::Socket(socket)) => {
            return tokio::net::UnixListener::from_std(socket)
                .map(Listening::Socket)
                .map_err(Error::InheritedListener);
        }
        #[cfg(windows)]
        Some(Handed::Pipe(name)) => {
            return crate::named_pipe::SameUserListener::create(name).map(Listening::Pipe);
        }
        #[cfg(unix)]
        Some(Handed::Port(listener)) => {
            let (listener, port) =
                TcpListener::from_std(listener).and_then(with_port).map_err(Error::InheritedListener)?;
            warn_if_blocked(port);
            return Ok(Listening::Port(listener, port));
        }
        None => {}
    }
    let Some(requested) = requested else {
        let chosen = choose(async || with_port(bind(0).await?)).await;
        return chosen.map(|(listener, port)| Listening::Port(listener, port)).map_err(Error::Listen);
    };
    warn_if_blocked(requested);
    match bind(requested.get()).await {
        Ok(listener) => Ok(Listening::Port(listener, requested)),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::AddrInUse => Error::PortTaken(requested),
            io::ErrorKind::PermissionDenied => Error::PortForbidden(requested),
            _ => Error::Listen(error),
        }),
    }
}

/// Takes the first port that browsers call. Refused listeners are held meanwhile, so that no port comes up twice and
/// the search ends.
async fn choose<L>(
    mut next: impl AsyncFnMut() -> io::Result<(L, NonZeroU16)>,
) -> io::Result<(L, NonZeroU16)> {
    let mut refused = Vec::new();
    loop {
        let (listener, port) = next().await?;
        if !is_blocked(port) {
            return Ok((listener, port));
        }
        refused.push(listener);
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    // The literal address: `localhost` may resolve to `::1`, and anything wider is open to the network.
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

fn with_port(listener: TcpListener) -> io::Result<(TcpListener, NonZeroU16)> {
    let port = NonZeroU16::new(listener.local_addr()?.port())
        .ok_or_else(|| io::Error::other("the system chose port 0"))?;
    Ok((listener, port))
}

fn warn_if_blocked(port: NonZeroU16) {
    if is_blocked(port) {
        tracing::warn!(port, "browsers and webviews refuse to call this port: choose another one");
    }
}

fn is_blocked(port: NonZeroU16) -> bool {
    BLOCKED_BY_BROWSERS.binary_search(&port.get()).is_ok()
}

/// The command that shows who listens on `port`.
pub(crate) fn look_up(port: NonZeroU16) -> String {
    if cfg!(target_os = "linux") {
        format!("ss -ltnp sport = :{port}")
    } else if cfg!(windows) {
        format!("netstat -ano | findstr :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(BLOCKED_BY_BROWSERS.is_sorted_by(|a, b| a < b));
    }

    #[tokio::test]
    async fn a_port_that_browsers_block_is_chosen_again_while_it_is_held() {
        let mut offers = [6000, 6667, 40_000, 40_001].into_iter();
        let held = std::rc::Rc::new(());
        let chosen = choose(async || {
            let offer = offers.next().and_then(NonZeroU16::new).unwrap();
            if offer.get() == 40_000 {
                assert_eq!(std::rc::Rc::strong_count(&held), 3, "both refused listeners are still held");
            }
            Ok((std::rc::Rc::clone(&held), offer))
        });
        assert_eq!(chosen.await.unwrap().1.get(), 40_000);
        assert_eq!(std::rc::Rc::strong_count(&held), 1, "refused listeners are closed once a port is found");
    }
}
