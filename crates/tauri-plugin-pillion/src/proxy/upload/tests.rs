use http_body_util::BodyExt as _;
use tokio::{
    io::{self as tokio_io, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, WriteHalf},
    sync::oneshot,
};

use super::*;

/// The client's writes to a server that takes no more once it is `closed`.
struct Writes(WriteHalf<DuplexStream>, Arc<AtomicBool>);

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test]
async fn a_long_answer_arrives_also_if_the_sidecar_takes_no_more_of_the_body() {
    const LENGTH: usize = 500_000;
    let (client, mut server) = tokio_io::duplex(2 * LENGTH);
    let (read, write) = tokio_io::split(client);
    let closed = Arc::new(AtomicBool::new(false));
    let stream = tokio_io::join(read, Writes(write, Arc::clone(&closed)));
    let upload = Upload::new(None, CancellationToken::new());
    let mut request = Request::new(lock(&upload.body).take().unwrap());
    *request.method_mut() = hyper::Method::POST;
    let (response, ()) = tokio::join!(send_over(stream, request), async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(server.read_u8().await.unwrap());
        }
        closed.store(true, Ordering::Relaxed);
        let head = format!("HTTP/1.1 413 Content Too Large\r\ncontent-length: {LENGTH}\r\n\r\n");
        server.write_all(&[head.as_bytes(), &vec![b'a'; LENGTH]].concat()).await.unwrap();
    });
    // The connection has written the first one, or failed, when it has taken the second one.
    for _ in 0..3 {
        let _ = upload.pieces.send(Piece::Bytes(Bytes::from_static(b"unwanted"))).await;
    }
    let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), LENGTH);
}

/// A connection that tells when it is closed.
struct Tells(DuplexStream, #[expect(dead_code, reason = "its end is the message")] oneshot::Sender<()>);

impl AsyncRead for Tells {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tells {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A piece of a body, longer than what hyper and the connection hold.
const LENGTH: usize = MAX_PIECE;

/// The sidecar takes nothing of a body and answers, the page has sent a piece and reads the answer. Returns the sidecar's side of the
/// connection, and what ends when the app closes the connection.
async fn answered_early(length: usize) -> (DuplexStream, oneshot::Receiver<()>) {
    let (client, mut server) = tokio_io::duplex(1_000);
    let (tells, closed) = oneshot::channel();
    let upload = Upload::new(Some(length as u64), CancellationToken::new());
    let mut request = Request::new(lock(&upload.body).take().unwrap());
    *request.method_mut() = hyper::Method::POST;
    let ended = upload.ended.clone();
    let pieces = async {
        assert!(upload.write(&vec![b'x'; LENGTH], false).await.unwrap());
        // When there is room for another one, the connection has taken it.
        upload.pieces.reserve().await.map(drop).unwrap();
        server.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (response, ()) = tokio::join!(send_over(Tells(client, tells), request), pieces);
    assert!(response.unwrap().into_body().collect().await.unwrap().to_bytes().is_empty());
    ended.cancel();
    (server, closed)
}

#[tokio::test]
async fn the_end_of_the_answer_closes_the_connection_also_if_the_sidecar_takes_nothing() {
    let (server, closed) = answered_early(LENGTH + 1).await;
    closed.await.unwrap_err();
    drop(server);
}

#[tokio::test]
async fn a_body_that_is_complete_is_sent_to_its_end_after_the_answer() {
    let (mut server, closed) = answered_early(LENGTH).await;
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(received.ends_with(&vec![b'x'; LENGTH]), "{} bytes", received.len());
    closed.await.unwrap_err();
}
