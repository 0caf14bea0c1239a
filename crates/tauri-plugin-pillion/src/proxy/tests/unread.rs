//! Responses that pages do not read.

use std::{
    future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::fixture::{CHUNKED, Fixture, get, with_sidecar};
use crate::desktop::proxy::{Exchange, HttpExchange, Proxy, unread::MAX_UNREAD};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn unread_responses_do_not_use_up_the_connections() {
    let mut fixture = Fixture::new().await;
    let mut open = Vec::new();
    let last = u32::try_from(MAX_UNREAD).unwrap();
    for id in 0..=last {
        open.push(fixture.begin(id).await);
    }
    open.remove(0).closed().await;
    fixture.read("main", 0).await.unwrap_err();
    open.last_mut().unwrap().write("3\r\none\r\n").await;
    assert_eq!(fixture.read("main", last).await.unwrap(), "one");
}

#[tokio::test]
async fn event_streams_that_a_page_opens_at_once_are_kept_until_it_reads_them() {
    let mut fixture = Fixture::new().await;
    fixture.proxy.stream_grace = Duration::from_secs(3_600);
    let last = u32::try_from(2 * MAX_UNREAD).unwrap();
    let mut open = Vec::new();
    for id in 0..=last {
        open.push(fixture.begin_with(id, STREAM).await);
    }
    for (id, stream) in (0..=last).zip(&mut open) {
        stream.write("3\r\none\r\n").await;
        assert_eq!(fixture.read("main", id).await.unwrap(), "one");
    }
}

#[tokio::test]
async fn event_streams_that_a_page_does_not_read_are_closed() {
    let mut fixture = Fixture::new().await;
    let last = u32::try_from(MAX_UNREAD).unwrap() + 1;
    let mut open = Vec::new();
    for id in 0..=last {
        // The first is the oldest, but not unread yet.
        fixture.proxy.stream_grace = if id == 0 { Duration::from_secs(3_600) } else { Duration::ZERO };
        open.push(fixture.begin_with(id, STREAM).await);
    }
    open.remove(1).closed().await;
    open[0].write("3\r\none\r\n").await;
    assert_eq!(fixture.read("main", 0).await.unwrap(), "one");
}

#[tokio::test]
async fn a_response_is_unread_while_its_page_waits_only_for_a_later_chunk() {
    for (place, is_kept) in [(0, true), (1, false)] {
        let mut fixture = Fixture::new().await;
        let mut connections = fixture.take_connections();
        let (mut open, mut reads) = (Vec::new(), Vec::new());
        for id in 0..=u32::try_from(MAX_UNREAD).unwrap() {
            let (response, connection) = tokio::join!(fixture.send(get(id)), async {
                let mut connection = connections.recv().await.unwrap();
                connection.write(CHUNKED).await;
                connection
            });
            response.unwrap();
            let mut read = Box::pin(fixture.read_at(id, place));
            tokio::select! {
                biased;
                _ = &mut read => unreachable!("the test has written no chunk"),
                () = future::ready(()) => {}
            }
            open.push(connection);
            reads.push(read);
        }
        let is_open = fixture.proxy.exchanges.get(&("main".to_owned(), 0)).is_some();
        assert_eq!(is_open, is_kept, "with a read of chunk {place}");
        if !is_kept {
            reads.remove(0).await.unwrap_err();
            open.remove(0).closed().await;
        }
    }
}

#[tokio::test]
async fn unread_responses_that_have_arrived_are_kept() {
    let mut fixture = Fixture::new().await;
    let last = u32::try_from(MAX_UNREAD).unwrap() + 9;
    for id in 0..=last {
        fixture.begin(id).await.write("3\r\none\r\n0\r\n\r\n").await;
        let complete = Arc::clone(&fixture.exchange(id).complete);
        while !complete.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }
    for id in 0..=last {
        assert_eq!(fixture.read("main", id).await.unwrap(), "one");
    }
}

#[tokio::test]
async fn a_webview_with_few_unread_responses_keeps_them() {
    let mut fixture = Fixture::new().await;
    let head = serde_json::from_value(with_sidecar(get(1))).unwrap();
    let (response, mut connection) =
        tokio::join!(fixture.proxy.send("other", &fixture.supervisor, head, &[]), async {
            let mut connection = fixture.connections.recv().await.unwrap();
            connection.write(CHUNKED).await;
            connection
        });
    response.unwrap();
    let mut open = Vec::new();
    for id in 0..u32::try_from(MAX_UNREAD).unwrap() {
        open.push(fixture.begin(id).await);
    }
    open.remove(0).closed().await;
    connection.write("3\r\none\r\n").await;
    assert_eq!(fixture.read("other", 1).await.unwrap(), "one");
}

#[test]
fn a_thousand_responses_are_evicted_in_their_order() {
    let proxy = Proxy::default();
    // `few` has 20, the others have 515 each.
    for id in 0..1_050 {
        let webview = if id < 20 { "few" } else { ["one", "two"][usize::from(id % 2 == 0)] };
        let exchange = HttpExchange { sidecar: "server".to_owned(), ..HttpExchange::default() };
        proxy.set_unread(&exchange);
        proxy.exchanges.lock().insert((webview.to_owned(), id), Exchange::Http(Arc::new(exchange)));
    }
    proxy.evict_unread("server");
    let mut left: Vec<_> = proxy.exchanges.lock().keys().map(|(_, id)| *id).collect();
    left.sort_unstable();
    // All of `few`, and the newest of the others.
    let expected: Vec<_> = (0..20).chain(1_050 - 108..1_050).collect();
    assert_eq!(left, expected);
}
