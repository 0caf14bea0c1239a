//! Where the sidecar listens (docs/protocol.md, sections 1 and 6).

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{AddressFamily, Shutdown, SocketType, bind, listen, shutdown, socket, sockopt::socket_acceptconn},
};

use crate::{Mutation, environment::HostEnvironment};

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(crate) fn open(mutation: &Mutation, host: &HostEnvironment) -> Result<Listener, String> {
    if host.inherited {
        return take(mutation);
    }
    for (name, address) in [
        ("second-listener-on-every-address", "0.0.0.0:0"),
        ("second-listener-on-ipv6", "[::1]:0"),
        ("second-listener-on-another-loopback", "127.0.0.2:0"),
    ] {
        if mutation.is(name) {
            std::mem::forget(TcpListener::bind(address).unwrap());
        }
    }
    if mutation.is("second-port-without-token") {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = open.accept() {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // A close before the end of the request would cut the answer (RFC 9112, section 9.6).
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
    }
    let port = host.port;
    let address = if mutation.is("every-address") { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    if mutation.is("announce-early") {
        let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(address, port)).map_err(|error| error.to_string())?;
        return Ok(Listener::Tcp(socket.into()));
    }
    let bound = TcpListener::bind((address, port)).or_else(|error| {
        if mutation.is("port-fallback") { TcpListener::bind((address, 0)) } else { Err(error) }
    });
    let bound = bound.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    if mutation.is("another-port") && port != 0 {
        return Ok(Listener::Tcp(TcpListener::bind((address, 0)).unwrap()));
    }
    Ok(Listener::Tcp(bound))
}

/// Takes descriptor 3.
fn take(mutation: &Mutation) -> Result<Listener, String> {
    let mut inherited = listenfd::ListenFd::from_env();
    let listener = match inherited.take_unix_listener(0) {
        Ok(Some(listener)) => Listener::Unix(listener),
        _ => Listener::Tcp(
            inherited.take_tcp_listener(0).map_err(|error| error.to_string())?.ok_or("no descriptor 3")?,
        ),
    };
    let accepts = socket_acceptconn(&listener).map_err(|error| error.to_string())?;
    if !accepts && !mutation.is("descriptor-unchecked") {
        return Err("descriptor 3 does not listen".to_owned());
    }
    match &listener {
        Listener::Tcp(_) if mutation.is("handover-refused") => return Err("no listener, please".to_owned()),
        Listener::Unix(_) if mutation.is("socket-refused") => return Err("no socket, please".to_owned()),
        Listener::Tcp(listener) => {
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            if address.ip() != Ipv4Addr::LOCALHOST && !mutation.is("address-unchecked") {
                return Err(format!("descriptor 3 is bound to {address}"));
            }
        }
        Listener::Unix(_) => {}
    }
    let flags = if mutation.is("listener-inherited") { FdFlags::empty() } else { FdFlags::CLOEXEC };
    fcntl_setfd(&listener, flags).unwrap();
    Ok(listener)
}

impl Listener {
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(listener) => Some(listener.local_addr().unwrap().port()),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn authority(&self) -> String {
        self.port().map_or("localhost".to_owned(), |port| format!("127.0.0.1:{port}"))
    }

    pub(crate) fn listen(&self) {
        listen(self, 128).unwrap();
    }

    pub(crate) fn accept(&self) -> std::io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
            Self::Unix(listener) => Stream::Unix(listener.accept()?.0),
        })
    }

    /// Stops accepting.
    pub(crate) fn close(self, mutation: &Mutation) {
        if mutation.is("listener-shut-down") {
            let _ = shutdown(&self, Shutdown::Both);
        }
        if let Self::Unix(listener) = &self
            && mutation.is("socket-unlinked")
        {
            let address = listener.local_addr().unwrap();
            let _ = std::fs::remove_file(address.as_pathname().unwrap());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
