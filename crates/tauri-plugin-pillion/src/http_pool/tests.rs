use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_was_sent_before_a_request_does_not_answer_it() {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use crate::desktop::local_stream::poll_here;

    let (own, mut peer) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    let mut connection = Connection::over(Box::new(LocalStream::new(own))).await.unwrap();
    assert!(connection.is_ready());
    // The main thread used the connection last.
    let (is_ready, _) = poll_here(|| connection.is_ready());
    assert!(is_ready);
    peer.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert!(!connection.is_ready());
}

const BODY: usize = 1_000_000;

/// A connection whose server has answered as a whole and has not read the body of the request, which has [`BODY`] bytes.
async fn answered_early() -> (Driver, DuplexStream) {
    let (client, mut server) = duplex(1_000);
    let mut connection = Connection::over(Box::new(client)).await.unwrap();
    let request = Request::put("/").body(Full::new(Bytes::from(vec![b'x'; BODY]))).unwrap();
    let response = connection.sender.try_send_request(request);
    let answered = async {
        // A response to no request would end the connection.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(server.read_u8().await.unwrap());
        }
        server.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.driver.drive(response), answered);
    // Without its request, which is long: no `unwrap`.
    assert!(response.is_ok_and(|response| response.status() == 202));
    assert!(!connection.is_ready(), "the test is void if the body was sent");
    (connection.driver, server)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_after_its_answer_loses_the_connection() {
    let (driver, mut server) = answered_early().await;
    let began = Instant::now();
    driver.finish(BODY_STALL_TIMEOUT).await;
    assert_eq!(began.elapsed().as_secs(), BODY_STALL_TIMEOUT.as_secs());
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(received.len() < BODY);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_slowly_after_its_answer_gets_the_whole_body() {
    let (driver, mut server) = answered_early().await;
    let mut received = Vec::new();
    let read = async {
        // In all far longer than the patience.
        for _ in 0..100 {
            time::sleep(BODY_STALL_TIMEOUT / 2).await;
            let mut part = [0; 1_000];
            let length = server.read(&mut part).await.unwrap();
            received.extend_from_slice(&part[..length]);
        }
        server.read_to_end(&mut received).await.unwrap();
    };
    tokio::join!(driver.finish(BODY_STALL_TIMEOUT), read);
    assert!(received.ends_with(&vec![b'x'; BODY]), "{} bytes", received.len());
}
