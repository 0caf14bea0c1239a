//! Requests whose bodies pages send in pieces.

use tokio::io::AsyncWriteExt as _;

use super::*;
use fixture::Connection;

fn post(id: u32) -> serde_json::Value {
    json!({ "id": id, "method": "POST", "path": "/", "headers": [], "upload": true })
}

impl Fixture {
    /// A call of the page. Returns whether the sidecar wants more.
    async fn write_as(&self, webview: &str, mut head: serde_json::Value, id: u32, bytes: &[u8]) -> bool {
        head["id"] = json!(id);
        self.proxy.write(webview, serde_json::from_value(head).unwrap(), bytes).await.unwrap()
    }

    async fn piece(&self, id: u32, bytes: &[u8]) -> bool {
        self.write_as("main", json!({}), id, bytes).await
    }

    async fn begin_upload(&self, id: u32, length: Option<u64>) {
        assert!(
            self.write_as("main", json!({ "begin": { "sidecar": "server", "length": length } }), id, b"")
                .await
        );
    }

    async fn end_upload(&self, id: u32) -> bool {
        self.write_as("main", json!({ "end": true }), id, b"").await
    }
}

impl Connection {
    /// Reads exactly these bytes.
    async fn expect(&mut self, bytes: &str) {
        let mut read = vec![0; bytes.len()];
        self.stream.read_exact(&mut read).await.unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), bytes);
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn the_sidecar_gets_each_piece_before_the_next_one_exists() {
    for (length, header, first, last) in [
        (None, "transfer-encoding: chunked", "5\r\nfirst\r\n", "4\r\nlast\r\n0\r\n\r\n"),
        (Some(9), "content-length: 9", "first", "last"),
    ] {
        let mut fixture = Fixture::new().await;
        let mut connections = fixture.take_connections();
        fixture.begin_upload(1, length).await;
        let (response, ()) = tokio::join!(fixture.send(post(1)), async {
            let mut connection = connections.recv().await.unwrap();
            assert!(connection.head.contains(&format!("\r\n{header}\r\n")), "{}", connection.head);
            assert!(fixture.piece(1, b"first").await);
            connection.expect(first).await;
            fixture.piece(1, b"last").await;
            fixture.end_upload(1).await;
            connection.expect(last).await;
            connection.write(OK).await;
        });
        assert_eq!(response.unwrap().1, "ok");
        // The id is free.
        fixture.begin_upload(1, length).await;
    }
}

#[tokio::test]
async fn a_body_may_end_before_its_request_arrives() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    for length in [None, Some(0)] {
        fixture.begin_upload(1, length).await;
        assert!(fixture.end_upload(1).await);
        let (response, ()) = tokio::join!(fixture.send(post(1)), async {
            connections.recv().await.unwrap().write(OK).await;
        });
        assert_eq!(response.unwrap().1, "ok");
    }
}

#[tokio::test]
async fn a_page_keeps_a_limited_number_of_bytes_in_the_app() {
    let fixture = Fixture::new().await;
    let write = |head: serde_json::Value, bytes: Vec<u8>| {
        let head = serde_json::from_value(head).unwrap();
        async { fixture.proxy.write("main", head, &{ bytes }).await }
    };
    for id in 0..128 {
        fixture.begin_upload(id, None).await;
    }
    let error = write(json!({ "id": 128, "begin": { "sidecar": "server", "length": null } }), Vec::new())
        .await
        .unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("128")), "{error:?}");
    let error = write(json!({ "id": 0 }), vec![0; 1024 * 1024 + 1]).await.unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("1048577")), "{error:?}");
    assert!(fixture.piece(0, &vec![0; 1024 * 1024]).await);
    // Nothing takes the first piece, so that the second one waits and the third one is refused.
    let (second, third) = tokio::join!(biased; write(json!({ "id": 0 }), vec![2]), async {
        let third = write(json!({ "id": 0 }), vec![3]).await;
        fixture.proxy.cancel("main", 0);
        third
    });
    assert!(!second.unwrap());
    let error = third.unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("one call")), "{error:?}");
    fixture.begin_upload(128, None).await;
}

#[tokio::test]
async fn pieces_wait_while_the_sidecar_reads_none() {
    const PIECE: usize = 1024 * 1024;
    const COUNT: usize = 100;
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, None).await;
    let written = AtomicUsize::new(0);
    let pieces = async {
        let piece = vec![7; PIECE];
        for _ in 0..COUNT {
            assert!(fixture.piece(1, &piece).await);
            written.fetch_add(1, Ordering::Relaxed);
        }
        fixture.end_upload(1).await;
    };
    let sidecar = async {
        let mut unread = connections.recv().await.unwrap();
        // Another upload passes meanwhile, which gives the app enough time.
        fixture.begin_upload(2, None).await;
        let other = async {
            let piece = vec![7; PIECE];
            for _ in 0..COUNT {
                fixture.piece(2, &piece).await;
            }
            fixture.end_upload(2).await;
        };
        let (response, (), ()) = tokio::join!(fixture.send(post(2)), other, async {
            let mut read = connections.recv().await.unwrap();
            read.drain(COUNT * PIECE).await;
            read.write(OK).await;
        });
        response.unwrap();
        let before = written.load(Ordering::Relaxed);
        // Two in the app, and what the buffers of the TCP connection hold.
        assert!(before < 16, "the app took {before} pieces that the sidecar did not read");
        unread.drain(COUNT * PIECE).await;
        unread.write(OK).await;
    };
    let (response, (), ()) = tokio::join!(fixture.send(post(1)), pieces, sidecar);
    assert_eq!(response.unwrap().1, "ok");
    assert_eq!(written.load(Ordering::Relaxed), COUNT);
}

impl Connection {
    /// Reads a body in chunks that has so many sevens, to its end.
    async fn drain(&mut self, sevens: usize) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        let (mut count, mut tail, mut buffer) = (0, Vec::new(), vec![0; 64 * 1024]);
        while count < sevens || !tail.ends_with(END) {
            let length = self.stream.read(&mut buffer).await.unwrap();
            assert_ne!(length, 0);
            count += buffer[..length].iter().filter(|byte| **byte == 7).count();
            tail.extend_from_slice(&buffer[..length]);
            tail.drain(..tail.len().saturating_sub(END.len()));
        }
        assert_eq!(count, sevens);
    }
}

#[tokio::test]
async fn a_complete_answer_before_the_end_of_the_body_ends_the_upload() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, Some(1_000_000_000)).await;
    let (response, mut connection) = tokio::join!(fixture.send(post(1)), async {
        let mut connection = connections.recv().await.unwrap();
        fixture.piece(1, b"first").await;
        connection.expect("first").await;
        connection.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nlarge").await;
        connection
    });
    let (head, body) = response.unwrap();
    assert_eq!((&head["status"], body.as_str()), (&json!(413), "large"));
    assert!(!fixture.piece(1, b"second").await);
    assert_eq!(connection.stream.read(&mut [0]).await.unwrap_or(0), 0, "the connection is not used again");
}

#[tokio::test]
async fn an_answer_arrives_also_if_the_sidecar_then_closes_the_connection() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, None).await;
    let pieces = async {
        let piece = vec![7; 1024 * 1024];
        while fixture.piece(1, &piece).await {}
    };
    let (response, (), ()) = tokio::join!(fixture.send(post(1)), pieces, async {
        let mut connection = connections.recv().await.unwrap();
        connection.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nlarge").await;
        // RFC 9112, section 9.6: half closed first, and then read on, so that no reset overtakes the answer.
        connection.stream.shutdown().await.unwrap();
        while connection.stream.read(&mut vec![0; 64 * 1024]).await.is_ok_and(|read| read > 0) {}
    });
    let (head, body) = response.unwrap();
    assert_eq!((&head["status"], body.as_str()), (&json!(413), "large"));
}

#[tokio::test]
async fn body_and_answer_pass_at_the_same_time() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, None).await;
    let (response, mut connection) = tokio::join!(fixture.send(post(1)), async {
        let mut connection = connections.recv().await.unwrap();
        connection.write(CHUNKED).await;
        connection
    });
    assert_eq!(response.unwrap().0["ended"], json!(false));
    assert!(fixture.piece(1, b"first").await);
    connection.expect("5\r\nfirst\r\n").await;
    connection.write("5\r\nfirst\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "first");
    fixture.end_upload(1).await;
    connection.expect("0\r\n\r\n").await;
    connection.write("0\r\n\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "");
}

#[tokio::test]
async fn the_page_breaks_it_off_and_no_other_page_does() {
    for is_answered in [false, true] {
        let mut fixture = Fixture::new().await;
        let mut connections = fixture.take_connections();
        fixture.begin_upload(1, None).await;
        let (response, connection) = tokio::join!(fixture.send(post(1)), async {
            let mut connection = connections.recv().await.unwrap();
            assert!(!fixture.write_as("other", json!({}), 1, b"wrong").await);
            fixture.proxy.cancel("other", 1);
            fixture.proxy.cancel_all_of("other");
            assert!(fixture.piece(1, b"first").await);
            connection.expect("5\r\nfirst\r\n").await;
            if is_answered {
                connection.write(CHUNKED).await;
            } else {
                fixture.proxy.cancel("main", 1);
            }
            connection
        });
        assert_eq!(response.is_ok(), is_answered);
        fixture.proxy.cancel("main", 1);
        assert!(!fixture.piece(1, b"second").await);
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, Some(9)).await;
    let (response, ()) = tokio::join!(fixture.send(post(1)), async {
        let mut connection = connections.recv().await.unwrap();
        fixture.piece(1, b"first").await;
        connection.expect("first").await;
        fixture.end_upload(1).await;
        connection.closed().await;
    });
    response.unwrap_err();
    // Without a begun body there is no request.
    fixture.send(post(2)).await.unwrap_err();
}

#[tokio::test]
async fn a_begun_body_is_for_the_request_of_the_same_id_and_sidecar_alone() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    fixture.begin_upload(1, Some(4)).await;
    fixture.send(get(1)).await.unwrap_err();
    let socket = json!({ "id": 1, "method": "GET", "path": "/", "headers": [], "webSocket": true });
    let socket = serde_json::from_value(with_sidecar(socket)).unwrap();
    fixture.proxy.open_web_socket("main", &fixture.supervisor, socket).await.unwrap_err();
    let mut other = post(1);
    other["sidecar"] = json!("other");
    let other = serde_json::from_value(other).unwrap();
    fixture.proxy.send("main", &fixture.supervisor, other, &[]).await.unwrap_err();
    // None of them has ended it.
    let (response, ()) = tokio::join!(fixture.send(post(1)), async {
        let mut connection = connections.recv().await.unwrap();
        assert!(fixture.piece(1, b"body").await);
        connection.expect("body").await;
        fixture.end_upload(1).await;
        connection.write(OK).await;
    });
    assert_eq!(response.unwrap().1, "ok");
}
