mod fixture;
mod kept_connections;
mod no_web_socket;
mod unread;
mod upload;
#[cfg(feature = "websocket")]
mod web_socket;

use std::sync::atomic::Ordering;

use pillion::State;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{outgoing::FORBIDDEN_HEADERS, *};
use fixture::{CHUNKED, Fixture, get, with_sidecar};

#[tokio::test]
async fn a_request_is_a_use_of_a_sidecar_on_demand_until_the_body_has_arrived() {
    let mut fixture = Fixture::with(|spec| spec.on_demand(true).idle_stop(Duration::ZERO)).await;
    let mut watch = fixture.supervisor.watch();
    let mut connection = fixture.begin(1).await;
    assert_eq!(fixture.supervisor.status().state, State::Ready);
    connection.write("3\r\nabc\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "abc");
    assert_eq!(fixture.supervisor.status().state, State::Ready);
    // The page has not read the end.
    connection.write("0\r\n\r\n").await;
    while watch.next().await.unwrap().state != State::Idle {}
    assert_eq!(fixture.read("main", 1).await.unwrap(), "");

    let mut fixture = Fixture::with(|spec| spec.on_demand(true).idle_stop(Duration::ZERO)).await;
    let mut watch = fixture.supervisor.watch();
    let connection = fixture.begin(1).await;
    assert_eq!(fixture.supervisor.status().state, State::Ready);
    fixture.proxy.cancel("main", 1);
    while watch.next().await.unwrap().state != State::Idle {}
    connection.closed().await;
}

#[tokio::test]
async fn a_request_and_its_response_pass_through_unchanged() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let head =
        json!({ "id": 1, "method": "POST", "path": "/a?b=1", "headers": [["x-mine", "1"], ["x-mine", "2"]] });
    let (response, mut connection) = tokio::join!(fixture.send_with(head, "body"), async {
        let mut connection = connections.recv().await.unwrap();
        let mut body = [0; 4];
        connection.stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"body");
        connection.write("HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-its: \u{fc}\r\n\r\nok").await;
        connection
    });
    assert!(connection.head.starts_with("post /a?b=1 http/1.1\r\n"), "{}", connection.head);
    for line in [&format!("host: 127.0.0.1:{}", fixture.port), "x-mine: 1\r\nx-mine: 2", "content-length: 4"]
    {
        assert!(connection.head.contains(&format!("\r\n{line}\r\n")), "{}", connection.head);
    }
    let (head, body) = response.unwrap();
    // A header value is a byte string: `ü` is two bytes in UTF-8.
    let headers = json!([["content-length", "2"], ["x-its", "\u{c3}\u{bc}"]]);
    assert_eq!(head, json!({ "status": 201, "statusText": "Created", "headers": headers, "ended": true }));
    assert_eq!(body, "ok");

    // The id is used again, and so is the connection.
    let (response, ()) = tokio::join!(fixture.send(get(1)), async {
        connection.read_head().await;
        assert!(connection.head.starts_with("get / "), "{}", connection.head);
        connection.write("HTTP/1.1 204 Nothing to say\r\n\r\n").await;
    });
    let (head, _) = response.unwrap();
    assert_eq!((&head["status"], &head["statusText"]), (&json!(204), &json!("Nothing to say")));
}

#[tokio::test]
async fn a_body_arrives_chunk_by_chunk() {
    let mut fixture = Fixture::new().await;
    let mut connection = fixture.begin(1).await;
    connection.write("3\r\none\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "one");
    let (chunk, ()) = tokio::join!(fixture.read("main", 1), connection.write("3\r\ntwo\r\n"));
    assert_eq!(chunk.unwrap(), "two");
    connection.write("0\r\n\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "");
    fixture.read("main", 1).await.unwrap_err();
}

#[tokio::test]
async fn reads_under_way_at_the_same_time_get_the_chunks_in_their_order() {
    let mut fixture = Fixture::new().await;
    let mut connection = fixture.begin(1).await;
    // The later reads arrive first.
    let (beyond, third, second, first, ()) = tokio::join!(
        biased;
        fixture.read_at(1, 3),
        fixture.read_at(1, 2),
        fixture.read_at(1, 1),
        fixture.read_at(1, 0),
        async {
            connection.write("3\r\none\r\n").await;
            // Each chunk is taken before the next is written: otherwise the app joins them.
            for (place, chunk) in [(1, "3\r\ntwo\r\n"), (2, "0\r\n\r\n")] {
                fixture.taken(1, place).await;
                connection.write(chunk).await;
            }
        },
    );
    assert_eq!([first.unwrap(), second.unwrap(), third.unwrap()], ["one", "two", ""]);
    // Beyond the end there are no bytes, whether the app still knows the request or not.
    assert_eq!(beyond.unwrap_or_default(), "");
}

#[tokio::test]
async fn a_chunk_is_read_once() {
    let mut fixture = Fixture::new().await;
    let mut connection = fixture.begin(1).await;
    connection.write("3\r\none\r\n").await;
    assert_eq!(fixture.read_at(1, 0).await.unwrap(), "one");
    fixture.read_at(1, 0).await.unwrap_err();
    connection.closed().await;
}

#[tokio::test]
async fn the_first_bytes_of_a_body_come_with_the_head() {
    let mut fixture = Fixture::new().await;
    // On a busy machine the bytes may arrive later than within ROUND_TRIP.
    fixture.proxy.round_trip = Duration::from_secs(60);
    let mut connections = fixture.take_connections();
    let (response, _connection) = tokio::join!(fixture.send(get(1)), async {
        let mut connection = connections.recv().await.unwrap();
        connection.write(&format!("{CHUNKED}3\r\none\r\n")).await;
        connection
    });
    let (head, start) = response.unwrap();
    assert_eq!((&head["ended"], start.as_str()), (&json!(false), "one"));
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let mut fixture = Fixture::new().await;
    let mut connection = fixture.begin(1).await;
    connection.write("3\r\none\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "one");
    drop(connection);
    fixture.read("main", 1).await.unwrap_err();
}

#[tokio::test]
async fn a_short_body_that_breaks_off_is_an_error_where_it_is_read() {
    let mut fixture = Fixture::new().await;
    fixture.proxy.round_trip = Duration::from_secs(60);
    let mut connections = fixture.take_connections();
    let (response, ()) = tokio::join!(fixture.send(get(1)), async {
        let mut connection = connections.recv().await.unwrap();
        connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
    });
    let (head, start) = response.unwrap();
    assert_eq!((&head["status"], &head["ended"], start.as_str()), (&json!(200), &json!(false), "short"));
    fixture.read("main", 1).await.unwrap_err();
}

#[tokio::test]
async fn an_empty_body_has_a_length_where_a_server_expects_one() {
    for (method, expected) in
        [("POST", true), ("PUT", true), ("PATCH", true), ("GET", false), ("DELETE", false)]
    {
        let mut fixture = Fixture::new().await;
        let mut connections = fixture.take_connections();
        let head = json!({ "id": 1, "method": method, "path": "/", "headers": [] });
        let (response, connection) = tokio::join!(fixture.send_with(head, ""), async {
            let mut connection = connections.recv().await.unwrap();
            connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
            connection
        });
        response.unwrap();
        assert_eq!(connection.head.contains("\r\ncontent-length: 0\r\n"), expected, "{}", connection.head);
    }
}

#[tokio::test]
async fn cancelling_closes_the_connection() {
    let mut fixture = Fixture::new().await;
    let connection = fixture.begin(1).await;
    fixture.proxy.cancel("main", 1);
    connection.closed().await;
    fixture.read("main", 1).await.unwrap_err();

    // It also does so before the response, …
    let mut connections = fixture.take_connections();
    let (response, ()) = tokio::join!(fixture.send(get(2)), async {
        let connection = connections.recv().await.unwrap();
        fixture.proxy.cancel("main", 2);
        connection.closed().await;
    });
    response.unwrap_err();

    // … and during a read.
    fixture.connections = connections;
    let connection = fixture.begin(3).await;
    let (read, ()) = tokio::join!(fixture.read("main", 3), async { fixture.proxy.cancel("main", 3) });
    read.unwrap_err();
    connection.closed().await;
}

#[tokio::test]
async fn another_webview_can_neither_read_nor_cancel() {
    let mut fixture = Fixture::new().await;
    let mut connection = fixture.begin(1).await;
    fixture.proxy.cancel("other", 1);
    fixture.proxy.cancel_all_of("other");
    fixture.read("other", 1).await.unwrap_err();
    connection.write("3\r\none\r\n").await;
    assert_eq!(fixture.read("main", 1).await.unwrap(), "one");
    fixture.proxy.cancel_all_of("main");
    connection.closed().await;
}

#[tokio::test]
async fn an_id_can_be_reused_after_its_request() {
    let mut fixture = Fixture::new().await;
    let connection = fixture.begin(1).await;
    fixture.send(get(1)).await.unwrap_err();
    fixture.proxy.cancel("main", 1);
    connection.closed().await;
    fixture.begin(1).await;
}

#[tokio::test]
async fn an_id_can_be_reused_after_its_request_was_dropped() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let mut send = Box::pin(fixture.send(get(1)));
    let connection = tokio::select! {
        _ = &mut send => unreachable!("the test has not responded"),
        connection = connections.recv() => connection.unwrap(),
    };
    drop(send);
    connection.closed().await;
    fixture.connections = connections;
    fixture.begin(1).await;
}

#[tokio::test]
async fn a_request_with_too_many_headers_is_an_error_and_frees_its_id() {
    let mut fixture = Fixture::new().await;
    let headers: Vec<_> = (0..40_000).map(|number| json!([format!("x-{number}"), ""])).collect();
    let head = json!({ "id": 1, "method": "GET", "path": "/", "headers": headers });
    assert!(matches!(fixture.send(head).await, Err(CommandError::NoResponse(why)) if why.contains("40000")));
    fixture.begin(1).await;
}

#[tokio::test]
async fn forbidden_methods_paths_and_headers_are_not_sent() {
    let fixture = Fixture::new().await;
    for (method, path) in [
        ("CONNECT", "/"),
        ("TRACE", "/"),
        ("trace", "/"),
        ("TRACK", "/"),
        ("track", "/"),
        ("G T", "/"),
        ("GET", "http://a/"),
        ("GET", ""),
        ("GET", "/a b"),
    ] {
        let head = json!({ "id": 1, "method": method, "path": path, "headers": [] });
        assert!(matches!(fixture.send(head).await, Err(CommandError::NoResponse(_))), "{method} {path}");
    }
    for name in FORBIDDEN_HEADERS {
        let head = json!({ "id": 1, "method": "GET", "path": "/", "headers": [[name.as_str(), "x"]] });
        assert!(matches!(fixture.send(head).await, Err(CommandError::NoResponse(_))), "{name}");
    }
    assert!(fixture.connections.is_empty());
}
