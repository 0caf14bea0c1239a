//! Connections that the proxy keeps after their response.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::fixture::{CHUNKED, Fixture, get};
use crate::desktop::{http_pool::HttpPool, lock::lock};

#[tokio::test]
async fn a_request_that_must_not_be_repeated_uses_a_new_connection() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let (response, kept) = tokio::join!(fixture.send(get(1)), async {
        let mut connection = connections.recv().await.unwrap();
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        connection
    });
    response.unwrap();
    let pool = Arc::clone(&lock(&fixture.proxy.pools)["server"]);
    assert_eq!(pool.idle_count(), 1);

    let post = json!({ "id": 2, "method": "POST", "path": "/", "headers": [] });
    let (response, mut later) = tokio::join!(fixture.send(post), async {
        let mut connection = connections.recv().await.unwrap();
        assert!(connection.head.starts_with("post / "), "{}", connection.head);
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        connection
    });
    assert_eq!(response.unwrap().0["status"], 204);

    assert_eq!(pool.idle_count(), 2);
    // An idempotent request uses a kept connection. The server closes both kept ones, and gets the request again.
    let put = json!({ "id": 3, "method": "PUT", "path": "/", "headers": [] });
    let (response, _connection) = tokio::join!(fixture.send(put), async {
        later.read_head().await;
        drop((kept, later));
        let mut connection = connections.recv().await.unwrap();
        assert!(connection.head.starts_with("put / "), "{}", connection.head);
        connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        connection
    });
    assert_eq!(response.unwrap().0["status"], 204);
}

#[tokio::test]
async fn a_body_is_sent_to_its_end_after_the_end_of_the_response() {
    // With the head, and later.
    for (head, end) in [("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", ""), (CHUNKED, "0\r\n\r\n")] {
        let mut fixture = Fixture::new().await;
        let mut connections = fixture.take_connections();
        // More than the sockets hold.
        let body = "x".repeat(64 << 20);
        let put = json!({ "id": 1, "method": "PUT", "path": "/", "headers": [] });
        let (response, mut connection) = tokio::join!(fixture.send_with(put, &body), async {
            let mut connection = connections.recv().await.unwrap();
            connection.write(head).await;
            connection
        });
        response.unwrap();
        if !end.is_empty() {
            connection.write(end).await;
            assert_eq!(fixture.read("main", 1).await.unwrap(), "");
        }
        assert_eq!(lock(&fixture.proxy.pools)["server"].idle_count(), 0);
        // The app closes the connection afterwards.
        let mut received = Vec::new();
        connection.stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received.len(), body.len());
    }
}

#[tokio::test]
async fn a_connection_that_stays_idle_is_closed() {
    let mut fixture = Fixture::new().await;
    let pool = Arc::new(HttpPool::new(Duration::ZERO));
    lock(&fixture.proxy.pools).insert("server".to_owned(), Arc::clone(&pool));
    let mut connections = fixture.take_connections();
    // Each time anew.
    for id in 1..=2 {
        let (response, connection) = tokio::join!(fixture.send(get(id)), async {
            let mut connection = connections.recv().await.unwrap();
            connection.write("HTTP/1.1 204 No Content\r\n\r\n").await;
            connection
        });
        response.unwrap();
        connection.closed().await;
        assert_eq!(pool.idle_count(), 0);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_not_kept() {
    let mut fixture = Fixture::new().await;
    let mut connections = fixture.take_connections();
    let (response, connection) = tokio::join!(fixture.send(get(1)), async {
        let mut connection = connections.recv().await.unwrap();
        connection.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
        connection
    });
    response.unwrap();
    assert_eq!(lock(&fixture.proxy.pools)["server"].idle_count(), 0);
    connection.closed().await;
}
