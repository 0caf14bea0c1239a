//! WebSockets to a sidecar whose side of the connection a test plays.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{SinkExt as _, StreamExt as _, future};
use sha1::{Digest as _, Sha1};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::*;
use crate::desktop::proxy::web_socket::handshake::Handshake;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// The sidecar's end of a WebSocket.
type Server = WebSocketStream<TcpStream>;

fn open(id: u32, protocols: &str) -> serde_json::Value {
    let headers =
        if protocols.is_empty() { json!([]) } else { json!([["sec-websocket-protocol", protocols]]) };
    json!({ "id": id, "method": "GET", "path": "/live?a=1", "headers": headers, "webSocket": true })
}

fn head(id: u32) -> WriteHead {
    serde_json::from_value(json!({ "id": id })).unwrap()
}

/// One message of the page or for it.
fn message(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[opcode], &length[..], payload].concat()
}

impl Fixture {
    /// What the page gets: the head, and the reason if the WebSocket did not open.
    async fn ask(&self, head: serde_json::Value) -> Result<(u64, String), CommandError> {
        let head = serde_json::from_value(with_sidecar(head)).unwrap();
        let response = self.proxy.open_web_socket("main", &self.supervisor, head).await?;
        let (head, reason) = ipc_message::decode::<serde_json::Value>(&response).unwrap();
        Ok((head["status"].as_u64().unwrap(), String::from_utf8(reason.to_vec()).unwrap()))
    }

    /// Opens a WebSocket.
    async fn opened(&mut self, id: u32) -> Server {
        let mut connections = self.take_connections();
        let (asked, server) = tokio::join!(self.ask(open(id, "")), async {
            let mut connection = connections.recv().await.unwrap();
            connection.write(&switching(&connection.key())).await;
            let stream = connection.stream.into_inner();
            WebSocketStream::from_raw_socket(stream, Role::Server, None).await
        });
        assert_eq!(asked.unwrap(), (101, String::new()));
        self.connections = connections;
        server
    }

    async fn next(&self, id: u32) -> Result<Vec<u8>, CommandError> {
        self.proxy.read("main", id, None).await
    }

    async fn write(&self, id: u32, messages: &[u8]) -> Result<(), CommandError> {
        let is_open = self.proxy.write("main", head(id), messages).await?;
        is_open.then_some(()).ok_or_else(|| CommandError::no_response("there is no such WebSocket"))
    }
}

impl fixture::Connection {
    /// The key of the handshake. It must not be in lower case.
    fn key(&self) -> String {
        let line = self.raw_head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        line.unwrap().to_owned()
    }
}

fn switching(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    let accept = BASE64_STANDARD.encode(digest);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )
}

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let mut fixture = Fixture::new().await;
    let mut server = fixture.opened(1).await;
    let sent = [message(TEXT, "größer"), message(2, [0, 255]), message(TEXT, "")].concat();
    fixture.write(1, &sent).await.unwrap();
    for expected in [Message::text("größer"), Message::binary(vec![0, 255]), Message::text("")] {
        assert_eq!(server.next().await.unwrap().unwrap(), expected);
    }
    server.send(Message::text("first")).await.unwrap();
    assert_eq!(fixture.next(1).await.unwrap(), message(TEXT, "first"));
    // The library answers it.
    server.send(Message::Ping(Bytes::from_static(b"ping"))).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"ping")));
    for text in ["second", "third"] {
        server.send(Message::text(text)).await.unwrap();
    }
    let (expected, mut got) = ([message(TEXT, "second"), message(TEXT, "third")].concat(), Vec::new());
    while got.len() < expected.len() {
        got.append(&mut fixture.next(1).await.unwrap());
    }
    assert_eq!(got, expected);
}

#[tokio::test]
async fn the_handshake_has_the_path_and_the_subprotocols_of_the_page() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let (asked, head) = tokio::join!(fixture.ask(open(1, "chat, notes")), async {
        let mut connection = connections.recv().await.unwrap();
        let accepted =
            switching(&connection.key()).replace("\r\n\r\n", "\r\nsec-websocket-protocol: notes\r\n\r\n");
        connection.write(&accepted).await;
        connection.head
    });
    assert_eq!(asked.unwrap().0, 101);
    assert!(head.starts_with("get /live?a=1 http/1.1\r\n"), "{head}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    assert!(head.contains("\r\nsec-websocket-protocol: chat, notes\r\n"), "{head}");
}

#[tokio::test]
async fn a_sidecar_that_does_not_open_it_is_told_with_its_status() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    for (response, expected) in [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", (403, "403 Forbidden")),
        (&switching("another key"), (502, "Sec-WebSocket-Accept")),
        ("", (502, "broke")),
    ] {
        let (asked, ()) = tokio::join!(fixture.ask(open(1, "")), async {
            let mut connection = connections.recv().await.unwrap();
            connection.write(response).await;
        });
        let (status, reason) = asked.unwrap();
        assert_eq!(status, expected.0);
        assert!(reason.contains(expected.1), "{reason}");
        fixture.next(1).await.unwrap_err();
    }
    let mut head = open(1, "");
    head["headers"] = json!([["sec-websocket-version", "13"]]);
    fixture.ask(head).await.unwrap_err();
}

#[tokio::test]
async fn a_handshake_whose_token_the_next_run_rejects_is_sent_again_with_its_own() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let tokens = ["a", "b"].map(|digit| digit.repeat(64));
    let calls = AtomicUsize::new(0);
    let access = || async {
        let mut access = fixture.supervisor.access().await?;
        let run = calls.fetch_add(1, Ordering::Relaxed).min(1);
        access.token = Some(tokens[run].parse().unwrap());
        Ok(access)
    };
    let handshake = || {
        let head = serde_json::from_value(with_sidecar(open(1, ""))).unwrap();
        Handshake::new(head).unwrap()
    };
    let rejection = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
    let (opened, ()) =
        tokio::join!(async { handshake().perform(&access).await.unwrap().1.is_some() }, async {
            let mut last = connections.recv().await.unwrap();
            assert!(
                last.head.contains(&format!("\r\nauthorization: bearer {}\r\n", tokens[0])),
                "{}",
                last.head
            );
            last.write(rejection).await;
            let mut next = connections.recv().await.unwrap();
            assert!(
                next.head.contains(&format!("\r\nauthorization: bearer {}\r\n", tokens[1])),
                "{}",
                next.head
            );
            next.write(&switching(&next.key())).await;
        },);
    assert!(opened);
    // The current run rejects it: it is not sent again.
    let ((message, upgraded), ()) =
        tokio::join!(async { handshake().perform(&access).await.unwrap() }, async {
            connections.recv().await.unwrap().write(rejection).await;
        });
    let (head, _) = ipc_message::decode::<serde_json::Value>(&message).unwrap();
    assert_eq!((&head["status"], upgraded.is_none()), (&json!(401), true));
}

#[tokio::test]
async fn either_side_closes_with_a_code_and_a_reason() {
    let mut fixture = Fixture::new().await;
    let close = CloseFrame { code: CloseCode::from(4401), reason: "who?".into() };
    let expected = message(CLOSE, [&4401_u16.to_be_bytes()[..], b"who?"].concat());

    let mut server = fixture.opened(1).await;
    server.send(Message::text("last")).await.unwrap();
    server.send(Message::Close(Some(close.clone()))).await.unwrap();
    let mut got = fixture.next(1).await.unwrap();
    if got.len() == message(TEXT, "last").len() {
        got.append(&mut fixture.next(1).await.unwrap());
    }
    assert_eq!(got, [message(TEXT, "last"), expected.clone()].concat());
    // The app has answered it.
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(Some(close.clone())));
    fixture.next(1).await.unwrap_err();
    fixture.write(1, &message(TEXT, "late")).await.unwrap_err();

    let mut server = fixture.opened(2).await;
    fixture.write(2, &[message(TEXT, "last"), expected.clone()].concat()).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("last"));
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(Some(close)));
    fixture.write(2, &message(TEXT, "late")).await.unwrap_err();
    // The server's library sends its answer with the next call.
    let (_, got) = tokio::join!(server.next(), fixture.next(2));
    assert_eq!(got.unwrap(), expected);
}

#[tokio::test]
async fn a_write_after_the_close_of_the_sidecar_loses_nothing() {
    let mut fixture = Fixture::new().await;
    let mut server = fixture.opened(1).await;
    server.send(Message::text("last")).await.unwrap();
    server.send(Message::Close(None)).await.unwrap();
    // The app has received both.
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(None));
    assert!(!fixture.proxy.write("main", head(1), &message(TEXT, "late")).await.unwrap());
    let expected = [message(TEXT, "last"), message(CLOSE, "")].concat();
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.append(&mut fixture.next(1).await.unwrap());
    }
    assert_eq!(got, expected);
}

#[tokio::test]
async fn the_page_sends_in_one_call_at_a_time() {
    let mut fixture = Fixture::new().await;
    let server = fixture.opened(1).await;
    // The sidecar does not read it, and the buffers do not hold it.
    let large = message(2, vec![7; 32 * 1024 * 1024]);
    let (first, second) = tokio::join!(biased; fixture.proxy.write("main", head(1), &large), async {
        let second = fixture.write(1, &message(TEXT, "second")).await;
        drop(server);
        second
    });
    assert!(!first.unwrap());
    let error = second.unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("one call")), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error_after_its_messages() {
    let mut fixture = Fixture::new().await;
    let mut server = fixture.opened(1).await;
    server.send(Message::text("last")).await.unwrap();
    drop(server);
    assert_eq!(fixture.next(1).await.unwrap(), message(TEXT, "last"));
    fixture.next(1).await.unwrap_err();
    let message = fixture.next(1).await.map_err(|error| format!("{error:?}"));
    assert!(message.is_err_and(|error| error.contains("no such request")));
}

#[tokio::test]
async fn the_page_ends_it_at_any_stage_and_no_other_page_does() {
    let mut fixture = Fixture::new().await;
    let mut server = fixture.opened(1).await;
    fixture.proxy.cancel("other", 1);
    fixture.proxy.cancel_all_of("other");
    fixture.proxy.read("other", 1, None).await.unwrap_err();
    assert!(!fixture.proxy.write("other", head(1), &message(TEXT, "a")).await.unwrap());
    fixture.write(1, &message(TEXT, "b")).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("b"));
    // During a read.
    let (read, ()) = tokio::join!(fixture.next(1), async { fixture.proxy.cancel_all_of("main") });
    read.unwrap_err();
    // As a browser does when its page goes.
    let away = CloseFrame { code: CloseCode::Away, reason: "".into() };
    assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(Some(away)));

    // During the handshake.
    let mut connections = fixture.take_connections();
    let (asked, ()) = tokio::join!(fixture.ask(open(1, "")), async {
        let connection = connections.recv().await.unwrap();
        fixture.proxy.cancel("main", 1);
        connection.closed().await;
    });
    asked.unwrap_err();
}

#[tokio::test]
async fn a_sidecar_is_not_read_faster_than_the_page_reads() {
    const LENGTH: usize = 512 * 1024;
    const COUNT: usize = 200;
    async fn send_all(mut server: Server, taken: &AtomicUsize) {
        for _ in 0..COUNT {
            server.send(Message::binary(vec![7; LENGTH])).await.unwrap();
            taken.fetch_add(1, Ordering::Relaxed);
        }
        server.close(None).await.unwrap();
    }
    async fn read_all(fixture: &Fixture, id: u32) -> usize {
        let mut length = 0;
        loop {
            let batch = fixture.next(id).await.unwrap();
            length += batch.iter().filter(|byte| **byte == 7).count();
            if batch.ends_with(&message(CLOSE, "")) {
                return length;
            }
        }
    }
    let mut fixture = Fixture::new().await;
    let (unread, read) = (fixture.opened(1).await, fixture.opened(2).await);
    let (taken, ignored) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut sends = Box::pin(send_all(unread, &taken));
    // As many messages of another one pass meanwhile, which gives the app enough time.
    tokio::select! {
        () = &mut sends => unreachable!("the page has read nothing"),
        _ = future::join(send_all(read, &ignored), read_all(&fixture, 2)) => {}
    }
    let before = taken.load(Ordering::Relaxed);
    // Two batches in the app, and what the buffers of the TCP connection hold.
    assert!(before < 32, "the app took {before} messages without the page");
    let ((), length) = tokio::join!(sends, read_all(&fixture, 1));
    assert_eq!(length, COUNT * LENGTH);
}

#[tokio::test]
async fn an_echo_of_large_messages_does_not_lock_up() {
    // The sidecar reads the next message only when its answer is taken, and the buffers hold none of them.
    const LENGTH: usize = 8 * 1024 * 1024;
    let mut fixture = Fixture::new().await;
    let mut server = fixture.opened(1).await;
    let echo = async {
        for _ in 0..4 {
            let message = server.next().await.unwrap().unwrap();
            server.send(message).await.unwrap();
        }
    };
    let sends = async {
        for _ in 0..4 {
            fixture.write(1, &message(2, vec![7; LENGTH])).await.unwrap();
        }
    };
    let reads = async {
        let mut got = 0;
        while got < 4 * (LENGTH + 5) {
            got += fixture.next(1).await.unwrap().len();
        }
        assert_eq!(got, 4 * (LENGTH + 5));
    };
    tokio::join!(echo, sends, reads);
}

#[tokio::test]
async fn it_is_a_use_of_a_sidecar_on_demand_until_it_has_closed() {
    let mut fixture = Fixture::with(|spec| spec.on_demand(true).idle_stop(Duration::ZERO)).await;
    let mut watch = fixture.supervisor.watch();
    let mut server = fixture.opened(1).await;
    server.send(Message::text("a")).await.unwrap();
    fixture.next(1).await.unwrap();
    let before = fixture.supervisor.status();
    // Another use ends, and a third one would find a sidecar that stops.
    let mut connections = fixture.take_connections();
    for id in [2, 3] {
        let (response, ()) = tokio::join!(fixture.send(get(id)), async {
            connections.recv().await.unwrap().write("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        response.unwrap();
    }
    let after = fixture.supervisor.status();
    assert_eq!((after.state, after.seq), (State::Ready, before.seq), "it has not stopped meanwhile");
    drop(server);
    fixture.next(1).await.unwrap_err();
    while watch.next().await.unwrap().state != State::Idle {}
}

#[tokio::test]
async fn messages_that_are_too_large_or_malformed_are_not_sent() {
    let mut fixture = Fixture::new().await;
    let _server = fixture.opened(1).await;
    fixture.write(1, b"\x01\0").await.unwrap_err();
    let error = fixture.write(1, &message(2, vec![0; 64 * 1024 * 1024 + 1])).await.unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("67108865")), "{error:?}");
}

#[tokio::test]
async fn a_page_has_a_limited_number_of_them() {
    let mut fixture = Fixture::new().await;
    let mut servers = Vec::new();
    for id in 0..255 {
        servers.push(fixture.opened(id).await);
    }
    let error = fixture.ask(open(255, "")).await.unwrap_err();
    assert!(matches!(&error, CommandError::NoResponse(why) if why.contains("255")), "{error:?}");
    fixture.proxy.cancel("main", 0);
    fixture.opened(255).await;
}
