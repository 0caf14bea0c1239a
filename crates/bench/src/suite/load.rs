//! A load generator: one thread with keep-alive connections, and one request at a time on each.
//!
//! The generator shares the cores with the measured server. It therefore formats the request once, and parses only the head of an
//! answer.

use std::{
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// The requests per second that `/health` on `port` answers on this number of connections during `span`.
pub(crate) fn requests_per_second(port: u16, connections: usize, span: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // On its own thread, so that no task of the caller runs on it.
    let load = move || {
        runtime.block_on(async {
            let begun = Instant::now();
            let mut clients = JoinSet::new();
            for _ in 0..connections {
                clients.spawn(ask_until(port, begun + span));
            }
            let mut answers = 0_u32;
            while let Some(client) = clients.join_next().await {
                answers += client??;
            }
            Ok(f64::from(answers) / begun.elapsed().as_secs_f64())
        })
    };
    thread::spawn(load).join().unwrap_or_else(|_| Err(anyhow::anyhow!("the load generator panicked")))
}

/// Sends requests on one connection until `end`, and counts the answers.
async fn ask_until(port: u16, end: Instant) -> Result<u32> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let mut buffer = vec![0; 4096];
    let mut answers = 0;
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        while length(&buffer[..filled])?.is_none_or(|length| filled < length) {
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "the server closed a connection, or answered more than {} bytes", buffer.len());
            filled += read;
        }
        answers += 1;
    }
    Ok(answers)
}

/// The length of the answer in bytes, or `None` while its head is incomplete.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes)? else { return Ok(None) };
    ensure!(response.code == Some(200), "/health answered {:?} under load", response.code);
    let body = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = body.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    Ok(Some(head + body.context("an answer without Content-Length")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_known_after_the_head() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-Length: 3\r\n\r\nabc";
        assert_eq!(length(&answer[..20]).unwrap(), None);
        assert_eq!(length(&answer[..38]).unwrap(), Some(41));
        assert!(length(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
