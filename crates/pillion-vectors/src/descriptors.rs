//! The descriptors that the vectors of environment.json pass as descriptor 3.

use std::{
    fs::File,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use anyhow::{Result, bail, ensure};

use crate::Address;

/// Descriptor 3 of the program, and the address at which that descriptor accepts connections.
#[derive(Debug)]
pub struct Descriptor3 {
    /// The descriptor.
    pub fd: OwnedFd,
    /// Where a program that accepts on it is reached.
    pub address: Option<Address>,
    /// Exists for as long as the program may use the descriptor.
    pub keep: Option<Keep>,
}

/// What a descriptor needs to exist: the directory of a socket, or the other end of a connection.
#[derive(Debug)]
pub struct Keep(#[expect(dead_code, reason = "it is only dropped")] Kept);

#[derive(Debug)]
enum Kept {
    Directory { _directory: tempfile::TempDir },
    Listener { _listener: TcpListener },
}

impl Descriptor3 {
    /// Creates the descriptor that a vector names in `descriptor3`.
    ///
    /// # Errors
    /// Returns an error if the kind is unknown, or if the system does not create it.
    pub fn new(kind: &str) -> Result<Self> {
        if kind == "tcp" {
            return Self::tcp("127.0.0.1:0");
        }
        if let Some(ip) = kind.strip_prefix("tcp ") {
            return Self::tcp(&format!("{ip}:0"));
        }
        Ok(match kind {
            "unix" => {
                let directory = tempfile::tempdir()?;
                let path = directory.path().join("socket");
                let fd = UnixListener::bind(&path)?.into();
                Self {
                    fd,
                    address: Some(Address::Unix(path)),
                    keep: Some(Keep(Kept::Directory { _directory: directory })),
                }
            }
            "connection" => {
                let listener = TcpListener::bind("127.0.0.1:0")?;
                let fd = TcpStream::connect(listener.local_addr()?)?.into();
                Self { fd, address: None, keep: Some(Keep(Kept::Listener { _listener: listener })) }
            }
            "udp" => Self { fd: UdpSocket::bind("127.0.0.1:0")?.into(), address: None, keep: None },
            "file" => Self { fd: File::open("/dev/null")?.into(), address: None, keep: None },
            unknown => bail!("unknown descriptor: {unknown}"),
        })
    }

    fn tcp(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let port = listener.local_addr()?.port();
        ensure!(port != 0, "the system chose port 0");
        Ok(Self { fd: listener.into(), address: Some(Address::Tcp(port)), keep: None })
    }
}
