//! A name resolution that changes its answer: DNS rebinding.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A SOCKS proxy: browsers let it resolve names (RFC 1928). Chromium accepts no other resolver on its command line, and the
/// test must not change that of the system.
#[derive(Debug)]
pub struct DnsServer {
    port: u16,
    answer: Arc<Mutex<Ipv4Addr>>,
    _connections: JoinSet<()>,
}

impl DnsServer {
    /// Resolves every name to `first`.
    ///
    /// # Errors
    /// There is no free port on loopback.
    pub async fn start(first: Ipv4Addr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let answer = Arc::new(Mutex::new(first));
        let mut connections = JoinSet::new();
        connections.spawn({
            let answer = Arc::clone(&answer);
            async move {
                let mut open = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let answer = *answer.lock().unwrap_or_else(PoisonError::into_inner);
                    // The browser reports a failed connection.
                    open.spawn(async move { connect(client, answer).await.unwrap_or_default() });
                }
            }
        });
        Ok(Self { port, answer, _connections: connections })
    }

    /// From now on, resolves every name to `address`.
    pub fn answers(&self, address: Ipv4Addr) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// The argument that makes Chromium use this proxy.
    #[must_use]
    pub fn argument(&self) -> String {
        format!("--proxy-server=socks5://127.0.0.1:{}", self.port)
    }
}

async fn connect(mut client: TcpStream, address: Ipv4Addr) -> io::Result<()> {
    const VERSION: u8 = 5;
    const DOMAIN_NAME: u8 = 3;
    let mut methods = vec![0; usize::from(second_byte(&mut client).await?)];
    client.read_exact(&mut methods).await?;
    client.write_all(&[VERSION, 0]).await?;
    let [.., kind, length] = read::<5>(&mut client).await?;
    if kind != DOMAIN_NAME {
        return Err(io::Error::other("the browser sent an address instead of a name"));
    }
    client.read_exact(&mut vec![0; length.into()]).await?;
    let port = client.read_u16().await?;
    let mut server = TcpStream::connect((address, port)).await?;
    client.write_all(&[VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn second_byte(client: &mut TcpStream) -> io::Result<u8> {
    Ok(read::<2>(client).await?[1])
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
