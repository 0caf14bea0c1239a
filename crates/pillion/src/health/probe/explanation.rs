//! Finds out why a server gives no HTTP/1.1 answer on 127.0.0.1: it speaks another protocol, or listens on another address.

use std::{future::Future, net::Ipv6Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::health::not_ready::NotReady;
use crate::transport::connector::Connector;

/// How long each look may take. Without a result the plain failure stays.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A TLS `ClientHello` for TLS 1.2 (RFC 5246, 7.4.1.2) without extensions: its 32 random bytes are 0, and it offers six cipher
/// suites. Every TLS server answers it with a handshake record or an alert.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x37\x01\x00\x00\x33\x03\x03\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \x00\x00\x0c\xc0\x2f\xc0\x30\xc0\x2b\xc0\x2c\x00\x2f\x00\x35\x01\x00";
/// The connection preface of an HTTP/2 client with an empty SETTINGS frame (RFC 9113, 3.4).
const HTTP_2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Replaces a refused connection by the address where the server does listen.
pub(super) async fn of_refusal(connector: &Connector, refused: NotReady) -> NotReady {
    let Some(port) = connector.listen_addr().port() else { return refused };
    match soon(TcpStream::connect((Ipv6Addr::LOCALHOST, port.get()))).await {
        Some(Ok(_)) => NotReady::OnlyIpv6(port.get()),
        Some(Err(_)) | None => refused,
    }
}

/// Explains an answer that is not HTTP/1.1 and began with these bytes. `error` is what the HTTP client says of it.
pub(super) async fn of_bad_answer(
    connector: Option<&Connector>,
    beginning: &[u8],
    error: String,
) -> NotReady {
    if let Some(protocol) = protocol_of(beginning) {
        return protocol;
    }
    if !beginning.is_empty() {
        let line = beginning.split(|byte| *byte == b'\n' || *byte == b'\r').next().unwrap_or_default();
        return NotReady::NotHttp(format!("{error}; it began with {:?}", String::from_utf8_lossy(line)));
    }
    // A TLS server may close the connection without an alert when it reads plain HTTP.
    if let Some(connector) = connector {
        for hello in [CLIENT_HELLO, HTTP_2_PREFACE] {
            if let Some(protocol) = soon(answer_to(connector, hello)).await.as_deref().and_then(protocol_of) {
                return protocol;
            }
        }
    }
    NotReady::NotHttp(error)
}

/// The protocol of an answer that begins with these bytes, if it is TLS or HTTP/2.
fn protocol_of(beginning: &[u8]) -> Option<NotReady> {
    match beginning {
        // A record of type alert or handshake, version 3.x (RFC 8446, 5.1).
        [0x15 | 0x16, 3, ..] => Some(NotReady::Tls),
        // A SETTINGS frame on stream 0 (RFC 9113, 4.1 and 6.5).
        [0, _, _, 4, 0, 0, 0, 0, 0, ..] => Some(NotReady::Http2),
        _ => None,
    }
}

async fn answer_to(connector: &Connector, hello: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; 9];
    let mut length = 0;
    if let Ok(mut stream) = connector.connect().await
        && stream.write_all(hello).await.is_ok()
    {
        while length < answer.len()
            && let Ok(read @ 1..) = stream.read(&mut answer[length..]).await
        {
            length += read;
        }
    }
    answer.truncate(length);
    answer
}

async fn soon<T>(look: impl Future<Output = T>) -> Option<T> {
    time::timeout(TIMEOUT, look).await.ok()
}
